// A program for tests: a runtime of local processes that applies (or removes) one instance, and kills itself at a named
// point on the way.

import { writeSync } from "node:fs";
import { InstanceFiles } from "../runtime/process/instance-files.ts";
import { ProcessRuntime } from "../runtime/process/process-runtime.ts";
import type { InstanceSpec } from "../runtime/runtime.ts";
import { LOCAL_BLOCK, localOptions } from "./local-processes.ts";

/**
 * Where the process kills itself: the block's file, the instance's file, the start's note, the program (before anything
 * of it is written down), what it runs as; the mark of removal, the end of the program.
 */
export type RuntimeFault =
  | "block written"
  | "instance written"
  | "start begun"
  | "program started"
  | "start written"
  | "removal written"
  | "program ended";

/** What the process is started with, as JSON in its first argument. */
export interface RuntimeProcessOptions {
  readonly dataDir: string;
  readonly spec: InstanceSpec;
  readonly fault: RuntimeFault;
}

const never = new AbortController().signal;
const { dataDir, spec, fault } = JSON.parse(process.argv[2] ?? "") as RuntimeProcessOptions;

function dieAt(point: RuntimeFault): void {
  if (point !== fault) return;
  // Synchronous, so that it is out when the process dies in the next line.
  writeSync(1, point);
  process.kill(process.pid, "SIGKILL");
}

class FaultyFiles extends InstanceFiles {
  override async writeBlock(...[block]: Parameters<InstanceFiles["writeBlock"]>): Promise<void> {
    await super.writeBlock(block);
    dieAt("block written");
  }

  override async writeRecord(...[record]: Parameters<InstanceFiles["writeRecord"]>): Promise<void> {
    await super.writeRecord(record);
    dieAt(record.isRemoved ? "removal written" : "instance written");
  }

  override async writeState(
    ...[key, state]: Parameters<InstanceFiles["writeState"]>
  ): Promise<void> {
    if (state.hasRun) dieAt("program started");
    await super.writeState(key, state);
    dieAt(state.hasRun ? "start written" : "start begun");
  }

  override async removeInstance(
    ...[key]: Parameters<InstanceFiles["removeInstance"]>
  ): Promise<void> {
    dieAt("program ended");
    await super.removeInstance(key);
  }
}

const runtime = new ProcessRuntime(localOptions(dataDir, { files: new FaultyFiles(dataDir) }));
await runtime.start();
await runtime.applyBlock(LOCAL_BLOCK, never);
await runtime.applyInstance(spec, never);
if (fault === "removal written" || fault === "program ended") {
  await runtime.removeInstance(spec, never);
}
