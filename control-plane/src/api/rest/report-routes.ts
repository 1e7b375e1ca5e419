import type { FastifyInstance } from "fastify";
import type { MetricsReport } from "../../org/report/metrics-report.ts";

/** `GET /metrics/report`: the consolidated report of the org, in the seed's shape. */
export function reportRoutes(server: FastifyInstance, report: Pick<MetricsReport, "text">): void {
  server.get(
    "/metrics/report",
    {
      schema: {
        tags: ["metrics"],
        summary: "Totals of the clusters, and metadata, usage and quotas of the subjects",
      },
    },
    async (_request, reply) => reply.type("application/json").send(await report.text()),
  );
}
