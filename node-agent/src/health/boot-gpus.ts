import { readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BootGpu } from "./health-signals.ts";

const FILE_NAME = "boot-gpus.json";

/** Most GPUs that are remembered. */
const MAX_GPUS = 64;

/**
 * The GPUs that were listed in this boot, kept in the data directory over restarts of the agent: one
 * that fell off its bus is still missed by an agent that never saw it.
 */
export class BootGpus {
  readonly #file: string | undefined;
  readonly #gpus = new Map<string, BootGpu>();
  #bootId = "";
  #isKept = true;
  #writing: Promise<void> = Promise.resolve();

  /** Without a directory they are forgotten with the agent. */
  constructor(dataDir: string | undefined) {
    this.#file = dataDir === undefined ? undefined : path.join(dataDir, FILE_NAME);
  }

  /** Reads what was kept in this boot; what cannot be read, and another boot's, counts as none. */
  async open(bootId: string): Promise<void> {
    this.#bootId = bootId;
    if (this.#file === undefined) return;
    const text = await readFile(this.#file, "utf8").catch(() => "");
    for (const gpu of parseBootGpus(text, bootId)) this.#add(gpu);
  }

  /** All of them. */
  list(): readonly BootGpu[] {
    return [...this.#gpus.values()];
  }

  /**
   * Adds GPUs that are listed now, and keeps them. Never rejects: the file is a help, no duty, and what
   * could not be written is written by the next call.
   */
  async see(gpus: readonly BootGpu[]): Promise<void> {
    for (const gpu of gpus) if (this.#add(gpu)) this.#isKept = false;
    const file = this.#file;
    if (this.#isKept || file === undefined) return;
    this.#isKept = true;
    const text = `${JSON.stringify({ bootId: this.#bootId, gpus: this.list() })}\n`;
    // One after the other, so that the newest is the last.
    this.#writing = this.#writing.then(() => this.#write(file, text));
    await this.#writing;
  }

  async #write(file: string, text: string): Promise<void> {
    try {
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
    } catch {
      this.#isKept = false;
    }
  }

  #add(gpu: BootGpu): boolean {
    const known = this.#gpus.get(gpu.uuid);
    if (known?.pci === gpu.pci || (known === undefined && this.#gpus.size >= MAX_GPUS)) {
      return false;
    }
    this.#gpus.set(gpu.uuid, gpu);
    return true;
  }
}

/** Reads the text of the file; none when it is of another boot or damaged. Pure. */
export function parseBootGpus(text: string, bootId: string): BootGpu[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  if (typeof value !== "object" || value === null) return [];
  const kept = value as Partial<Record<"bootId" | "gpus", unknown>>;
  if (kept.bootId !== bootId || !Array.isArray(kept.gpus)) return [];
  return kept.gpus.filter(isBootGpu).slice(0, MAX_GPUS);
}

function isBootGpu(value: unknown): value is BootGpu {
  if (typeof value !== "object" || value === null) return false;
  const { uuid, pci } = value as Partial<Record<keyof BootGpu, unknown>>;
  return typeof uuid === "string" && uuid !== "" && typeof pci === "string";
}
