import { berth, startFleet } from "../support/fleet.ts";
import { startEcho } from "./echo.ts";
import { closedLoop, type LoadResult, medianResult } from "./load.ts";
import { type BenchOptions, compared, type Emit } from "./report.ts";

const WARM_UP = 300;
const BODY = { adhoc: true, policy_rule_uri: "least-loaded:1.0.0-stable", inputs: {} };

/**
 * Allocation over WebSocket against one cluster with one node: example policy in Python, client
 * included. Baseline: a WebSocket echo in the client's own process, same message, same loop.
 */
export async function allocationBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const [runs, untilMs] = quick ? [1, 500] : [5, 3_000];
  const echo = await startEcho();
  const fleet = await startFleet();
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
  const target = { url: `ws://127.0.0.1:${fleet.ports.ws}`, body: BODY };
  for (const inFlight of [1, 32]) {
    const [ours, base]: [LoadResult[], LoadResult[]] = [[], []];
    const load = { sockets: 1, inFlight, untilMs };
    await closedLoop(target, { sockets: 1, inFlight, untilCount: WARM_UP });
    for (let run = 0; run < runs; run += 1) {
      base.push(await closedLoop({ ...target, url: echo.url }, load));
      ours.push(await closedLoop(target, load));
    }
    const [value, echoed] = [medianResult(ours), medianResult(base)];
    const figure = (name: keyof LoadResult, unit: string) =>
      emit(
        compared(
          { figure: `${name} at ${inFlight} in flight`, value: value[name], unit, runs },
          { name: "websocket echo", value: echoed[name] },
        ),
      );
    figure("perSecond", "allocations/s");
    figure("p50Ms", "ms");
    figure("p99Ms", "ms");
  }
  echo.close();
  await fleet.stop();
}
