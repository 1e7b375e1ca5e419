import process from "node:process";
import { runProgram, systemClock } from "@berth/service-kit";
import { composeClusterAgent } from "./compose.ts";
import { settings } from "./settings.ts";

await runProgram(
  {
    name: "cluster-agent",
    settings,
    compose: async (config, logger) => {
      const agent = await composeClusterAgent({
        ...{ config, clock: systemClock, logger },
        usage: process,
      });
      return agent.parts;
    },
  },
  process,
);
