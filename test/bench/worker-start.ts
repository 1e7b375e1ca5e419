import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  createSandbox,
  LIMITS_BY_KIND,
  pythonPolicy,
  type SandboxEvent,
} from "@berth/policy-sandbox";
import { type BenchOptions, compared, type Emit, median } from "./report.ts";

const SOURCE = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        return {}
`;

/**
 * What a policy's first evaluation costs: building the snapshot (once per data directory), starting a
 * sealed worker from it, and a first evaluation with and without a warm spare. Baseline: starting Node.
 */
export async function workerStartBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const runs = quick ? 1 : 7;
  const stateDir = mkdtempSync(path.join(tmpdir(), "berth-bench-"));
  const events: SandboxEvent[] = [];
  const built = createSandbox({ stateDir, onEvent: (event) => events.push(event) });
  await built.ready();
  await built.close();
  const [starts, first, nodes]: [number[], number[], number[]] = [[], [], []];
  for (let run = 0; run < runs; run += 1) {
    nodes.push(await nodeStartMs());
    const sandbox = createSandbox({ stateDir, onEvent: (event) => events.push(event) });
    const beginMs = performance.now();
    await sandbox.ready();
    starts.push(performance.now() - beginMs);
    const evaluatedMs = performance.now();
    const outcome = await sandbox.evaluate({
      tenant: "bench",
      policyUri: "bench:1-stable",
      code: pythonPolicy({ "code/function.py": SOURCE }),
      settingsJson: "{}",
      parametersJson: "{}",
      inputJson: "{}",
      limits: LIMITS_BY_KIND.allocator,
    });
    if (outcome.kind !== "returned") throw new Error(`the policy ended with ${outcome.kind}`);
    first.push(performance.now() - evaluatedMs);
    await sandbox.close();
  }
  const baseline = { name: "start of node", value: median(nodes) };
  const snapshot = events.find((event) => event.kind === "snapshot_built");
  if (snapshot !== undefined) {
    emit(compared({ figure: "snapshot build", value: snapshot.elapsedMs, unit: "ms" }, baseline));
  }
  const figure = (name: string, values: readonly number[]) =>
    emit(compared({ figure: name, value: median(values), unit: "ms", runs }, baseline));
  figure("worker ready from snapshot", starts);
  figure("first evaluation on a warm spare", first);
  rmSync(stateDir, { recursive: true });
}

async function nodeStartMs(): Promise<number> {
  const begin = performance.now();
  await once(spawn(process.execPath, ["-e", "0"], { stdio: "ignore" }), "exit");
  return performance.now() - begin;
}
