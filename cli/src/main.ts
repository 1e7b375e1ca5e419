import process from "node:process";
import { fileURLToPath } from "node:url";
import { processContext } from "./process-context.ts";
import { runBerth } from "./program.ts";

const programPath = (name: string) => fileURLToPath(import.meta.resolve(`@berth/${name}/main`));

process.exitCode = await runBerth(processContext(process), {
  "control-plane": programPath("control-plane"),
  "cluster-agent": programPath("cluster-agent"),
  "node-agent": programPath("node-agent"),
  simulator: programPath("simulator"),
});
