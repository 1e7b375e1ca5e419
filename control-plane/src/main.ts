import process from "node:process";
import { runProgram } from "@berth/service-kit";
import { composeControlPlane } from "./compose.ts";
import { settings } from "./settings.ts";

await runProgram(
  {
    name: "control-plane",
    settings,
    compose: (config, logger) => composeControlPlane(config, logger, process),
  },
  process,
);
