import process from "node:process";
import { runProgram, systemClock } from "@berth/service-kit";
import { composeSimulator } from "./compose.ts";
import { settings } from "./settings.ts";

await runProgram(
  {
    name: "simulator",
    settings,
    compose: async (config, logger) => {
      const { parts } = await composeSimulator({ config, clock: systemClock, logger, process });
      return parts;
    },
  },
  process,
);
