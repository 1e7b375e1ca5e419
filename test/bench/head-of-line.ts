import { startControlPlane } from "../support/control-plane-process.ts";
import { closedLoop, keepBusy, type LoadResult, medianResult, type Target } from "./load.ts";
import { BURNER, NOTHING, SLEEPER } from "./policies.ts";
import { type BenchOptions, compared, type Emit } from "./report.ts";

/** Below this a latency counts as this: nobody notices, and ratios of noise say nothing. */
const FLOOR_MS = 5;
const BASELINE = "nothing else";

/**
 * Latency of a fast policy on one socket while another socket runs, over and over, nothing, a policy
 * that sleeps 2 s, and one that burns CPU for 2 s. Baseline: nothing, in the same rounds. Each p99 is
 * told as it is; the ratio is that of the p99s with a floor of 5 ms.
 */
export async function headOfLineBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const [runs, untilMs, seconds] = quick ? [1, 600, 0.3] : [5, 4_500, 2];
  const plane = await startControlPlane();
  const target = (policy_rule_uri: string, inputs: object = {}): Target => ({
    url: plane.wsUrl,
    body: { adhoc: true, policy_rule_uri, inputs },
  });
  const fast = target(await plane.publish("nothing", NOTHING));
  const neighbours = new Map<string, Target | undefined>([
    [BASELINE, undefined],
    ["a policy that sleeps 2 s", target(await plane.publish("sleeper", SLEEPER), { seconds })],
    ["a policy that burns CPU 2 s", target(await plane.publish("burner", BURNER), { seconds })],
  ]);
  // Every policy gets its worker before the first figure.
  for (const one of [fast, ...neighbours.values()]) {
    if (one !== undefined) await closedLoop(one, { sockets: 1, inFlight: 1, untilCount: 1 });
  }
  await closedLoop(fast, { sockets: 1, inFlight: 1, untilMs: untilMs / 4 });
  const results = new Map<string, LoadResult[]>();
  for (let run = 0; run < runs; run += 1) {
    for (const [name, neighbour] of neighbours) {
      const result = await besideOf(neighbour, fast, untilMs);
      results.set(name, [...(results.get(name) ?? []), result]);
    }
  }
  report(emit, results, runs);
  await plane.stop();
}

async function besideOf(
  neighbour: Target | undefined,
  fast: Target,
  untilMs: number,
): Promise<LoadResult> {
  const busy = neighbour && (await keepBusy(neighbour));
  const result = await closedLoop(fast, { sockets: 1, inFlight: 1, untilMs });
  await busy?.stop();
  return result;
}

function report(emit: Emit, results: ReadonlyMap<string, LoadResult[]>, runs: number): void {
  const idle = medianResult(results.get(BASELINE) ?? []);
  for (const [name, list] of results) {
    const { p50Ms, p99Ms } = medianResult(list);
    const baseline = (value: number) => ({ name: BASELINE, value });
    emit(
      compared(
        { figure: `p50 beside ${name}`, value: p50Ms, unit: "ms", runs },
        baseline(idle.p50Ms),
      ),
    );
    emit(
      compared(
        { figure: `p99 beside ${name}`, value: p99Ms, unit: "ms", runs },
        baseline(idle.p99Ms),
      ),
    );
    const floored = Math.max(FLOOR_MS, p99Ms);
    const figure = `p99 beside ${name}, floor ${FLOOR_MS} ms`;
    emit(
      compared(
        { figure, value: floored, unit: "ms", runs },
        baseline(Math.max(FLOOR_MS, idle.p99Ms)),
      ),
    );
  }
}
