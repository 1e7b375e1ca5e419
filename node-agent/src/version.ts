/** Version of the node-agent, as in its package.json; sent when the agent registers. */
export const AGENT_VERSION = "0.1.0";
