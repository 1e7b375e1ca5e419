import process from "node:process";
import { runProgram, systemClock } from "@berth/service-kit";
import { composeClusterAgent } from "./compose.ts";
import { programSettings } from "./settings.ts";

await runProgram(
  {
    name: "cluster-agent",
    settings: programSettings,
    compose: async (config, logger) => {
      const agent = await composeClusterAgent({
        ...{ config, clock: systemClock, logger },
        ...{ runtime: config, usage: process, process },
      });
      return agent.parts;
    },
  },
  process,
);
