/** One part of a GPU as `nvidia-smi -L` lists it. */
export interface ListedMigDevice {
  /** Position on its GPU. */
  readonly index: number;
  readonly uuid: string;
  /** Profile: "3g.20gb", "1g.5gb+me"; "" where the line has none. */
  readonly profile: string;
}

/** Parts of each GPU by the GPU's UUID, in the driver's order; GPUs without parts are left out. */
export type ListedMigDevices = ReadonlyMap<string, readonly ListedMigDevice[]>;

const GPU_LINE = /^GPU \d{1,3}: .{0,200}\(UUID: (GPU-[0-9a-fA-F-]{8,64})\)\s*$/;
const MIG_LINE =
  /^\s+MIG (\S{1,32})\s+Device\s+(\d{1,3}): \(UUID: (MIG-[0-9a-zA-Z/-]{8,100})\)\s*$/;
/** A GPU has seven parts at most, compute instances within them a few more. */
const MAX_PARTS = 64;

/**
 * Reads the lines of `nvidia-smi -L`: a line per GPU, below it one per part that MIG has cut. Lines of
 * any other form (warnings, errors) are passed over. Never throws.
 */
export function parseMigList(lines: readonly string[]): ListedMigDevices {
  const found = new Map<string, ListedMigDevice[]>();
  let gpu: string | undefined;
  for (const line of lines) {
    gpu = line.startsWith("GPU ") ? GPU_LINE.exec(line)?.[1] : gpu;
    const [, profile = "", index, uuid] = MIG_LINE.exec(line) ?? [];
    if (gpu === undefined || index === undefined || uuid === undefined) continue;
    const parts = found.get(gpu) ?? [];
    if (parts.length < MAX_PARTS) parts.push({ index: Number(index), uuid, profile });
    found.set(gpu, parts);
  }
  return found;
}
