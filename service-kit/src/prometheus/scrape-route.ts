import type { FastifyInstance } from "fastify";
import type { ScrapeRegistry } from "./scrape-registry.ts";

/** Adds `GET /metrics` in the text format of Prometheus to a server. */
export function addScrapeRoute(server: FastifyInstance, registry: ScrapeRegistry): void {
  server.get(
    "/metrics",
    { schema: { tags: ["operations"], summary: "Metrics for Prometheus" } },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.text()),
  );
}
