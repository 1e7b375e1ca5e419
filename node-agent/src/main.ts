import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runProgram } from "@berth/service-kit/base";
import { composeNodeAgent } from "./compose.ts";
import { NODE_AGENT_SETTINGS } from "./settings.ts";

// An agent that reads some lines per second needs no optimizing compilers and no room to grow fast:
// without them it holds 15 MiB less, and takes no more of the processor. V8 asks for these flags
// whenever they matter, so that they count although it runs already.
for (const flag of ["--no-opt", "--no-maglev", "--optimize-for-size"]) {
  setFlagsFromString(flag);
}

await runProgram(
  {
    name: "node-agent",
    settings: NODE_AGENT_SETTINGS,
    compose: (config, logger) => composeNodeAgent(config, logger, { usage: process }),
  },
  process,
);
