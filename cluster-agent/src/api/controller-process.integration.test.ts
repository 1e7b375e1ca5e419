import { startBlockAgent } from "../testing/block-agent.ts";
import { controllerContract } from "../testing/controller-contract.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";

controllerContract("local processes", async (cleanup) => {
  const { agent } = await startBlockAgent(cleanup);
  return {
    call: async (method, url, body) => {
      const payload = body === undefined ? {} : { payload: body as object };
      const headers = { host: "localhost" };
      const answer = await agent.http.inject({ method, url, headers, ...payload });
      return { status: answer.statusCode, body: answer.json() };
    },
    program: { command: ECHO_COMMAND },
    nodeId: "node-a",
  };
});
