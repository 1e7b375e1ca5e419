import path from "node:path";

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const MAX_NAME_LENGTH = 63;

/** Which instance: its block and its own id. */
export interface InstanceKey {
  readonly blockId: string;
  readonly instanceId: string;
}

/** Why an id of a block or an instance cannot be one here; undefined when it can. */
export function nameRefusal(field: "blockId" | "instanceId", id: string): string | undefined {
  if (id.length <= MAX_NAME_LENGTH && NAME.test(id)) return undefined;
  return `${field}: expected at most ${MAX_NAME_LENGTH} of a-z, 0-9 and "-", which is neither first nor last, got ${JSON.stringify(id.slice(0, 80))}`;
}

/** "block/instance": what `BERTH_INSTANCE` holds. */
export function instanceName({ blockId, instanceId }: InstanceKey): string {
  return `${blockId}/${instanceId}`;
}

/** Folders and files of one data directory. Ids have passed {@link nameRefusal}: they name no file and leave no folder. */
export const layout = {
  runtimeId: (dataDir: string) => path.join(dataDir, "runtime-id"),
  blocks: (dataDir: string) => path.join(dataDir, "blocks"),
  block: (dataDir: string, blockId: string) => path.join(dataDir, "blocks", blockId),
  blockFile: (dataDir: string, blockId: string) =>
    path.join(dataDir, "blocks", blockId, "block.json"),
  instance: (dataDir: string, key: InstanceKey) =>
    path.join(dataDir, "blocks", key.blockId, key.instanceId),
  instanceFile: (dataDir: string, key: InstanceKey) =>
    path.join(dataDir, "blocks", key.blockId, key.instanceId, "instance.json"),
  stateFile: (dataDir: string, key: InstanceKey) =>
    path.join(dataDir, "blocks", key.blockId, key.instanceId, "state.json"),
  log: (dataDir: string, key: InstanceKey) =>
    path.join(dataDir, "blocks", key.blockId, key.instanceId, "output.log"),
} as const;
