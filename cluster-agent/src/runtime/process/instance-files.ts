import { randomUUID } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { BerthError, makeDirectory } from "@berth/service-kit";
import type { BlockSpec } from "../runtime.ts";
import { readIfThere, syncFolder, writeAtomically, writeDurably } from "./durable-file.ts";
import {
  type InstanceRecord,
  type InstanceState,
  parseBlock,
  parseRecord,
  parseState,
  RecordError,
} from "./instance-record.ts";
import { type InstanceKey, layout, nameRefusal } from "./names.ts";

/** An instance as its files have it. */
export interface KeptInstance {
  readonly record: InstanceRecord;
  /** Undefined when it was never started. */
  readonly state: InstanceState | undefined;
}

/** All that the files have. */
export interface Kept {
  readonly blocks: readonly BlockSpec[];
  readonly instances: readonly KeptInstance[];
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The files of one data directory: `runtime-id`, `blocks/<block>/block.json`, `blocks/<block>/<instance>/` with
 * `instance.json`, `state.json` and the logs. What a file stands for exists when the file does: folders without theirs
 * are what a crash left, and are removed when the directory is read.
 */
export class InstanceFiles {
  readonly #dataDir: string;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /** UUID of the data directory, minted at its first use. */
  async runtimeId(): Promise<string> {
    makeDirectory(layout.blocks(this.#dataDir));
    const file = layout.runtimeId(this.#dataDir);
    const found = (await readIfThere(file))?.trim();
    if (found === undefined) {
      const id = randomUUID();
      await writeDurably(file, `${id}\n`);
      return id;
    }
    if (UUID.test(found)) return found;
    throw damaged(file, "it holds no UUID");
  }

  /** Reads everything. Rejects with PRECONDITION_FAILED, naming the file, when one does not hold what Berth wrote. */
  async read(bootId: string): Promise<Kept> {
    const blocks: BlockSpec[] = [];
    const instances: KeptInstance[] = [];
    for (const blockId of await this.#folders("blockId", layout.blocks(this.#dataDir))) {
      const found = await this.#instancesOf(blockId, bootId);
      const block = await this.#readBlock(blockId, found.length === 0);
      if (block === undefined) continue;
      blocks.push(block);
      instances.push(...found);
    }
    return { blocks, instances };
  }

  /** Durable when it resolves. */
  async writeBlock(spec: BlockSpec): Promise<void> {
    await mkdir(layout.block(this.#dataDir, spec.blockId), { recursive: true, mode: 0o700 });
    await Promise.all([
      writeDurably(layout.blockFile(this.#dataDir, spec.blockId), JSON.stringify(spec)),
      syncFolder(layout.blocks(this.#dataDir)),
    ]);
  }

  /** Durable when it resolves. */
  async writeRecord(record: InstanceRecord): Promise<void> {
    const { spec } = record;
    await mkdir(layout.instance(this.#dataDir, spec), { recursive: true, mode: 0o700 });
    await Promise.all([
      writeDurably(layout.instanceFile(this.#dataDir, spec), JSON.stringify(record)),
      syncFolder(layout.block(this.#dataDir, spec.blockId)),
    ]);
  }

  /** Outlasts the agent, but perhaps not a loss of power: that ends the processes too. */
  async writeState(key: InstanceKey, state: InstanceState): Promise<void> {
    await writeAtomically(layout.stateFile(this.#dataDir, key), JSON.stringify(state));
  }

  /** Removes all of an instance, its logs too. */
  async removeInstance(key: InstanceKey): Promise<void> {
    const folder = layout.instance(this.#dataDir, key);
    // Without this file the rest counts as left by a crash.
    await rm(layout.instanceFile(this.#dataDir, key), { force: true });
    await rm(folder, { recursive: true, force: true });
  }

  /** Removes the root of a block, which has no instances any more. */
  async removeBlock(blockId: string): Promise<void> {
    await rm(layout.blockFile(this.#dataDir, blockId), { force: true });
    await rm(layout.block(this.#dataDir, blockId), { recursive: true, force: true });
    await syncFolder(layout.blocks(this.#dataDir));
  }

  /** The log that an instance writes. */
  logFile(key: InstanceKey): string {
    return layout.log(this.#dataDir, key);
  }

  async #instancesOf(blockId: string, bootId: string): Promise<KeptInstance[]> {
    const instances: KeptInstance[] = [];
    const folder = layout.block(this.#dataDir, blockId);
    for (const instanceId of await this.#folders("instanceId", folder)) {
      const key = { blockId, instanceId };
      const file = layout.instanceFile(this.#dataDir, key);
      const record = await readAs(file, parseRecord);
      if (record === undefined) {
        await this.removeInstance(key);
        continue;
      }
      const { spec } = record;
      if (spec.blockId !== blockId || spec.instanceId !== instanceId) {
        throw damaged(file, "it is of another instance");
      }
      const state = await readIfThere(layout.stateFile(this.#dataDir, key));
      instances.push({
        record,
        state: state === undefined ? undefined : parseState(state, bootId),
      });
    }
    return instances;
  }

  async #readBlock(blockId: string, isEmpty: boolean): Promise<BlockSpec | undefined> {
    const file = layout.blockFile(this.#dataDir, blockId);
    const block = await readAs(file, parseBlock);
    if (block === undefined && !isEmpty) throw damaged(file, "it is missing");
    if (block === undefined) await this.removeBlock(blockId);
    else if (block.blockId !== blockId) throw damaged(file, "it is of another block");
    return block;
  }

  /** Folders that can be a block's or an instance's; others are not ours and are left alone. */
  async #folders(field: "blockId" | "instanceId", parent: string): Promise<string[]> {
    const entries = await readdir(parent, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() && nameRefusal(field, entry.name) === undefined)
      .map(({ name }) => name)
      .sort();
  }
}

async function readAs<T>(file: string, parse: (json: string) => T): Promise<T | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (thrown) {
    if (thrown instanceof RecordError) throw damaged(file, thrown.message);
    throw thrown;
  }
}

/** The operator has to act: the message names the file. */
function damaged(file: string, why: string): BerthError {
  return new BerthError(
    "PRECONDITION_FAILED",
    `the file ${file} is damaged (${why}): restore it, or remove its folder, which ends what runs of it`,
  );
}
