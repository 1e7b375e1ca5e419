// A supervisor with programs of the test's choosing: node run-up.ts <control-plane> <cluster-agent> <node-agent> [options of `berth up`]
import process from "node:process";
import { processContext } from "../process-context.ts";
import { runBerth } from "../program.ts";

const [controlPlane = "", clusterAgent = "", nodeAgent = "", ...options] = process.argv.slice(2);

process.exitCode = await runBerth(
  { ...processContext(process), args: ["up", ...options] },
  {
    "control-plane": controlPlane,
    "cluster-agent": clusterAgent,
    "node-agent": nodeAgent,
    simulator: "",
  },
);
