import process from "node:process";
import { runProgram } from "@berth/service-kit/base";
import { composeNodeAgent } from "./compose.ts";
import { NODE_AGENT_SETTINGS } from "./settings.ts";

await runProgram(
  {
    name: "node-agent",
    settings: NODE_AGENT_SETTINGS,
    compose: (config, logger) => composeNodeAgent(config, logger),
  },
  process,
);
