export { type ClusterAgent, type ClusterAgentOptions, composeClusterAgent } from "./compose.ts";
export { settings } from "./settings.ts";
