import { type Clock, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { SubjectUsage } from "../../org/usage/subject-usage.ts";
import type { UsageBook } from "../../org/usage/usage-book.ts";
import { readUsageReport } from "../../org/usage/usage-report.ts";
import { checkSignature, SIGNATURE_HEADER } from "../../org/usage/webhook-signature.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";

const ListParameters = Type.Object(
  {
    subject_id: Type.Optional(
      Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: 10_000 })], {
        description: "only these; may be given more than once",
      }),
    ),
    limit: FleetLimitParameter,
  },
  { additionalProperties: false },
);

/** What {@link usageRoutes} serves from. */
export interface UsageRoutesDeps {
  readonly usage: Pick<SubjectUsage, "view">;
  readonly book: UsageBook;
  /** Secrets of the webhook's senders; without any nothing is checked. */
  readonly webhookSecrets: readonly string[];
  readonly clock: Clock;
}

/**
 * What subjects use: `GET /subject-metrics` in the shape of the seed's subject metrics, and `POST /metrics/webhook`, by which
 * hardware and monitoring agents tell it.
 */
export function usageRoutes(server: FastifyInstance, deps: UsageRoutesDeps): void {
  const tags = ["subjects"];
  server.get(
    "/subject-metrics",
    {
      schema: {
        tags,
        querystring: ListParameters,
        summary: "What subjects use, as they report it or by telemetry",
      },
    },
    async (request, reply) => {
      const { subject_id: ids, limit } = parse(ListParameters, request.query);
      const { subjects } = await deps.usage.view();
      const found =
        ids === undefined
          ? [...subjects.values()]
          : [...new Set([ids].flat())].flatMap((id) => subjects.get(id) ?? []);
      return sendListed(reply, found, limit);
    },
  );
  server.post(
    "/metrics/webhook",
    {
      schema: {
        tags,
        summary: `Tell what subjects use; signed in ${SIGNATURE_HEADER} where secrets are set`,
      },
    },
    async (request) => {
      const { clock, book, webhookSecrets: secrets } = deps;
      const wallMs = Date.parse(clock.timestamp());
      const header = request.headers[SIGNATURE_HEADER];
      const signature = typeof header === "string" ? header : undefined;
      checkSignature({ signature, bodyText: request.bodyText, secrets, nowMs: wallMs });
      const told = readUsageReport(request.body);
      // One that was captured and is sent again within the time of its signature counts once, too.
      const own = secrets.length === 0 ? {} : { eventId: `signature ${signature}` };
      const report = { ...own, ...told };
      const { taken, ignored, isDuplicate } = book.take(report, { nowMs: clock.nowMs(), wallMs });
      return { success: true, data: { taken, ignored, duplicate: isDuplicate } };
    },
  );
}
