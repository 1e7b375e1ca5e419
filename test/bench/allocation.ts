import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { berth, startFleet } from "../support/fleet.ts";
import { compared, type Emit, median, quantile } from "./report.ts";

const RUNS = 5;
const RUN_MS = 3_000;
const WARM_UP = 300;
const MESSAGE = JSON.stringify({
  adhoc: true,
  policy_rule_uri: "least-loaded:1.0.0-stable",
  inputs: {},
});

interface RunResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Allocation over WebSocket against one cluster with one node: example policy in Python, client
 * included. Baseline: a WebSocket echo in the client's own process, same message, same loop.
 */
export async function allocationBench(emit: Emit): Promise<void> {
  const echo = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  echo.on("connection", (socket) => socket.on("message", (data) => socket.send(String(data))));
  await once(echo, "listening");
  const echoUrl = `ws://127.0.0.1:${(echo.address() as { port: number }).port}`;
  const fleet = await startFleet();
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
  const url = `ws://127.0.0.1:${fleet.ports.ws}`;
  for (const inFlight of [1, 32]) {
    const [ours, base]: [RunResult[], RunResult[]] = [[], []];
    await drive(url, { inFlight, untilCount: WARM_UP });
    for (let run = 0; run < RUNS; run += 1) {
      base.push(await drive(echoUrl, { inFlight, untilMs: RUN_MS }));
      ours.push(await drive(url, { inFlight, untilMs: RUN_MS }));
    }
    const figure = (name: keyof RunResult, unit: string) => {
      const value = median(ours.map((result) => result[name]));
      const echoed = { name: "websocket echo", value: median(base.map((result) => result[name])) };
      emit(
        compared({ figure: `${name} at ${inFlight} in flight`, value, unit, runs: RUNS }, echoed),
      );
    };
    figure("perSecond", "allocations/s");
    figure("p50Ms", "ms");
    figure("p99Ms", "ms");
  }
  echo.close();
  await fleet.stop();
}

/** Keeps `inFlight` requests under way on one socket, for a time or a count. */
async function drive(
  url: string,
  load: { readonly inFlight: number; readonly untilMs?: number; readonly untilCount?: number },
): Promise<RunResult> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, "open");
  const sentAt: number[] = [];
  const latencies: number[] = [];
  const begin = performance.now();
  const goesOn = () =>
    performance.now() - begin < (load.untilMs ?? Number.POSITIVE_INFINITY) &&
    latencies.length + sentAt.length < (load.untilCount ?? Number.POSITIVE_INFINITY);
  const send = () => {
    sentAt.push(performance.now());
    socket.send(MESSAGE);
  };
  const finished = new Promise<void>((resolve, reject) => {
    socket.on("message", (data: Buffer) => {
      if (data.includes('"success":false')) reject(new Error(String(data)));
      latencies.push(performance.now() - (sentAt.shift() ?? 0));
      if (goesOn()) send();
      else if (sentAt.length === 0) resolve();
    });
    socket.on("close", () => reject(new Error("the socket was closed")));
  });
  for (let index = 0; index < load.inFlight; index += 1) send();
  await finished;
  const elapsedMs = performance.now() - begin;
  socket.removeAllListeners("close");
  socket.close();
  return {
    perSecond: (latencies.length / elapsedMs) * 1_000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}
