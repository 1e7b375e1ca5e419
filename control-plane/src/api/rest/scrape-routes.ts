import { addScrapeRoute, BerthError } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import type { ControlPlaneScrape } from "../../metrics/scrape.ts";

/** `GET /metrics` for Prometheus. */
export function scrapeRoute(server: FastifyInstance, scrape: ControlPlaneScrape): void {
  server.register(async (routes) => {
    routes.addHook("preHandler", async (_request, reply) => {
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort(new BerthError("CANCELED", "the client has gone")));
      await scrape.refresh(gone.signal);
    });
    addScrapeRoute(routes, scrape.registry);
  });
}
