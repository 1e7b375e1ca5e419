import { startControlPlane } from "../support/control-plane-process.ts";
import { closedLoop, keepBusy, type LoadResult, medianResult, type Target } from "./load.ts";
import { BURNER, NOTHING, SLEEPER } from "./policies.ts";
import { type BenchOptions, compared, type Emit } from "./report.ts";

/** Below this a latency counts as this: nobody notices, and ratios of noise say nothing. */
const FLOOR_MS = 5;
const BASELINE = "nothing else";

/** More than there are cores here, and places for quick evaluations. */
const SEVERAL = 4;

/**
 * Latency of a fast policy on one socket while other sockets run, over and over, nothing, a policy that sleeps
 * 2 s or four of them, and one that burns CPU for 2 s or four of them. Baseline: nothing, in the same rounds. Each p99 is
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
  const several = async (name: string, code: string) => {
    const targets: Target[] = [];
    for (let one = 0; one < SEVERAL; one += 1) {
      targets.push(target(await plane.publish(`${name}-${one}`, code), { seconds }));
    }
    return targets;
  };
  const sleepers = await several("sleeper", SLEEPER);
  const burners = await several("burner", BURNER);
  const neighbours = new Map<string, readonly Target[]>([
    [BASELINE, []],
    ["a policy that sleeps 2 s", sleepers.slice(0, 1)],
    [`${SEVERAL} policies that sleep 2 s`, sleepers],
    ["a policy that burns CPU 2 s", burners.slice(0, 1)],
    [`${SEVERAL} policies that burn CPU 2 s`, burners],
  ]);
  // Every policy gets its worker before the first figure.
  for (const one of [fast, ...sleepers, ...burners]) {
    await closedLoop(one, { sockets: 1, inFlight: 1, untilCount: 1 });
  }
  await closedLoop(fast, { sockets: 1, inFlight: 1, untilMs: untilMs / 4 });
  const results = new Map<string, LoadResult[]>();
  for (let run = 0; run < runs; run += 1) {
    for (const [name, targets] of neighbours) {
      const result = await besideOf(targets, fast, untilMs);
      results.set(name, [...(results.get(name) ?? []), result]);
    }
  }
  report(emit, results, runs);
  await plane.stop();
}

async function besideOf(
  neighbours: readonly Target[],
  fast: Target,
  untilMs: number,
): Promise<LoadResult> {
  const busy = await Promise.all(neighbours.map(keepBusy));
  const result = await closedLoop(fast, { sockets: 1, inFlight: 1, untilMs });
  await Promise.all(busy.map((one) => one.stop()));
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
