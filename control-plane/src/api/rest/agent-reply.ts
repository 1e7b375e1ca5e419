import type { FastifyReply, FastifyRequest } from "fastify";
import type { AgentAnswer } from "../../fleet/agent-api.ts";

/** Gives the answer of an agent on as it is: its status, its body, its numbers. */
export function sendAgentAnswer(reply: FastifyReply, answer: AgentAnswer): FastifyReply {
  return reply.status(answer.status).type("application/json").send(answer.bodyJson);
}

/** Aborted when the client has gone. */
export function goneSignal(_request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  return gone.signal;
}
