import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeBody, encodeFrame, FRAME_PREFIX_BYTES, type Frame } from "../protocol/frames.ts";
import type { SandboxEvent, SnapshotState } from "../sandbox-types.ts";
import { makeFolder } from "./make-folder.ts";
import { pyodideDir, workerFlags, xzScript } from "./spawn-worker.ts";
import { WorkerProcess } from "./worker-process.ts";

const MAX_SNAPSHOT_BYTES = 128 * 1024 * 1024;
const IMAGE_NAME = /^snapshot-[0-9a-f]{16}\.bin$/;
const UNFINISHED_NAME = /^snapshot-[0-9a-f]{16}\.bin\.[0-9a-f-]{36}\.tmp$/;
/** An unfinished image that was not written to for so long is one of a process that was killed, in ms. */
const ABANDONED_AFTER_MS = 60_000;
const SOURCE_FOLDERS = [
  "../worker/",
  "../worker/realm/",
  "../worker/python/",
  "../protocol/",
] as const;

/**
 * The memory image that workers start from: one file in the caller's folder, named after everything that it
 * depends on, built by a worker process without any right to write (it sends the image back).
 */
export class SnapshotStore {
  readonly #dir: string;
  readonly #onEvent: (event: SandboxEvent) => void;
  #state: SnapshotState = "absent";
  #pending: Promise<string> | null = null;
  #builder: WorkerProcess | null = null;
  #closed = false;

  constructor(dir: string, onEvent: (event: SandboxEvent) => void) {
    this.#dir = dir;
    this.#onEvent = onEvent;
  }

  get state(): SnapshotState {
    return this.#state;
  }

  /** The path of a verified image; builds it (about 4 s) when it is missing or damaged. */
  ensure(): Promise<string> {
    this.#pending ??= this.#prepare().catch((error: unknown) => {
      this.#state = "failed";
      this.#pending = null;
      const message = error instanceof Error ? error.message : "unknown failure";
      if (!this.#closed) this.#onEvent({ kind: "snapshot_failed", message });
      throw error;
    });
    return this.#pending;
  }

  /** Makes the next `ensure` look at the file again: a worker could not start from it. */
  invalidate(): void {
    if (this.#state === "ready") this.#pending = null;
  }

  /** Ends a build that is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#builder?.kill("closed", "the sandbox was closed");
    await this.#builder?.exited;
  }

  async #prepare(): Promise<string> {
    await makeFolder(this.#dir);
    const key = await snapshotKey();
    const file = join(this.#dir, `snapshot-${key}.bin`);
    await removeAbandoned(this.#dir);
    if (!(await isIntact(file, key))) await this.#build(file, key);
    this.#state = "ready";
    return file;
  }

  async #build(file: string, key: string): Promise<void> {
    if (this.#closed) throw new Error("the sandbox is closed");
    this.#state = "building";
    const startedAt = performance.now();
    const builder = new WorkerProcess(
      { mode: "build", pyodideDir: pyodideDir(), xzScript: xzScript(), snapshotFile: "" },
      MAX_SNAPSHOT_BYTES,
    );
    this.#builder = builder;
    const sections = await builder.ready;
    await builder.exited;
    this.#builder = null;
    const chunks = encodeFrame({ type: "snapshot", key, sha256: digestOf(sections) }, sections);
    const temporary = `${file}.${randomUUID()}.tmp`;
    try {
      await writeFile(temporary, chunks, { mode: 0o600, flush: true });
      await rename(temporary, file);
    } finally {
      await rm(temporary, { force: true });
    }
    await removeOthers(this.#dir, file);
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const elapsedMs = Math.round(performance.now() - startedAt);
    this.#onEvent({ kind: "snapshot_built", elapsedMs, sizeBytes });
  }
}

/** Sixteen hex digits over everything that the image and its use depend on. */
async function snapshotKey(): Promise<string> {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([process.version, process.arch, process.versions.v8]));
  const config = { mode: "build", pyodideDir: "", xzScript: "", snapshotFile: "" } as const;
  hash.update(JSON.stringify(workerFlags(config).filter((flag) => !flag.includes("="))));
  hash.update(await readFile(join(pyodideDir(), "package.json")));
  for (const folder of SOURCE_FOLDERS) {
    const url = new URL(folder, import.meta.url);
    const names = (await readdir(url)).filter((name) => /\.(js|ts|py)$/.test(name)).sort();
    for (const name of names) {
      const text = await readFile(new URL(name, url));
      hash.update(`${folder}${name}:${text.byteLength}:`);
      hash.update(text);
    }
  }
  return hash.digest("hex").slice(0, 16);
}

async function isIntact(file: string, key: string): Promise<boolean> {
  let frame: Frame;
  try {
    const bytes = await readFile(file);
    frame = decodeBody(bytes.subarray(FRAME_PREFIX_BYTES));
  } catch {
    return false; // missing or cut short: it is built anew
  }
  return frame.header.key === key && frame.header.sha256 === digestOf(frame.sections);
}

function digestOf(sections: Frame["sections"]): string {
  const hash = createHash("sha256");
  for (const section of sections) hash.update(`${section.byteLength}:`).update(section);
  return hash.digest("hex");
}

async function removeOthers(dir: string, current: string): Promise<void> {
  const files = await filesOf(dir, IMAGE_NAME);
  const stale = files.filter((file) => file !== current);
  await Promise.all(stale.map(tidy));
}

/** Removes what processes that were killed while they wrote have left; another one may be writing at this moment. */
async function removeAbandoned(dir: string): Promise<void> {
  for (const file of await filesOf(dir, UNFINISHED_NAME)) {
    const status = await stat(file).catch(() => undefined); // its process has finished it meanwhile
    if (status === undefined) continue;
    // A clock that was set back leaves files of the future.
    if (Math.abs(Date.now() - status.mtimeMs) >= ABANDONED_AFTER_MS) await tidy(file);
  }
}

/** What cannot be removed takes room and does no harm. */
async function tidy(file: string): Promise<void> {
  await rm(file, { force: true, recursive: true }).catch(() => undefined);
}

async function filesOf(dir: string, pattern: RegExp): Promise<readonly string[]> {
  const names = await readdir(dir);
  return names.filter((name) => pattern.test(name)).map((name) => join(dir, name));
}
