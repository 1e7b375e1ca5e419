import process from "node:process";
import { type GeneratorOptions, startFleetGenerator } from "./fleet-generator.ts";

/**
 * `node fleet-generator-main.ts '<GeneratorOptions as JSON>'`: a fleet of synthetic clusters in a process
 * of its own. Prints its status as one JSON line every half second, and ends when standard input closes.
 */
const STATUS_INTERVAL_MS = 500;

const options: GeneratorOptions = JSON.parse(process.argv[2] ?? "");
const generator = await startFleetGenerator(options);
const timer = setInterval(
  () => console.log(JSON.stringify(generator.status())),
  STATUS_INTERVAL_MS,
);
process.stdin.resume();
process.stdin.on("close", async () => {
  clearInterval(timer);
  await generator.stop();
  process.exit(0);
});
