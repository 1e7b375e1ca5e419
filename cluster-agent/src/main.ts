import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runProgram, systemClock } from "@berth/service-kit";
import { composeClusterAgent } from "./compose.ts";
import { programSettings } from "./settings.ts";

// What is kept of thousands of instances is little, what is read about them is much: V8 would let twice as much lie about as is
// kept. It asks for the flag whenever it matters, so that it counts although V8 runs already.
setFlagsFromString("--optimize-for-size");

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
