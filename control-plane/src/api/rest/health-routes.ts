import type { FastifyInstance } from "fastify";

/** Tells whether the control-plane can do its work, and a line per part for people. */
export type ReadyCheck = () => Promise<{
  readonly ready: boolean;
  readonly parts: Readonly<Record<string, unknown>>;
}>;

/** `GET /healthz`: the process answers. `GET /readyz`: it can decide; 503 until then. */
export function healthRoutes(server: FastifyInstance, ready: ReadyCheck): void {
  server.get("/healthz", { schema: { tags: ["health"] } }, () => ({ success: true }));
  server.get("/readyz", { schema: { tags: ["health"] } }, async (_request, reply) => {
    const { ready: isReady, parts } = await ready();
    return reply.status(isReady ? 200 : 503).send({ success: isReady, data: parts });
  });
}
