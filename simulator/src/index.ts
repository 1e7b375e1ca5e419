export { composeSimulator, type Simulator, type SimulatorOptions } from "./compose.ts";
export { settings } from "./settings.ts";
