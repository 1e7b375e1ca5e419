import process from "node:process";
import { startNodeServer } from "@berth/node-agent/testing";

/**
 * A cluster-agent's node side in a process of its own, for benchmarks: prints its port as the first line
 * and then, once per second, the numbers of reports and of GPU samples it has heard; ends when its
 * standard input closes. Arguments: the secret of the enrolment token, the GPU interval in ms.
 */
const [secret = "", gpuInterval = "1000"] = process.argv.slice(2);
const server = await startNodeServer({
  secret,
  gpuIntervalMs: Number(gpuInterval),
  hostIntervalMs: 5_000,
});
process.stdout.write(`${server.port}\n`);
let reports = 0;
let samples = 0;
setInterval(() => {
  // The test server keeps what it hears; here it is only counted.
  const heard = server.reports.splice(0);
  reports += heard.length;
  samples += heard.reduce((sum, { gpus }) => sum + gpus.length, 0);
  process.stdout.write(`${reports} ${samples}\n`);
}, 1_000);
process.stdin.on("end", () => process.exit(0)).resume();
