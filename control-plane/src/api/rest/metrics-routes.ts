import { Readable } from "node:stream";
import { BerthError, filterOfBody, filterOfParameters, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { GlobalMetrics, MetricsRequest } from "../../metrics/global-metrics.ts";
import type { MetricsDocument } from "../../metrics/global-metrics-document.ts";
import {
  HISTORY_INTERVAL_MS,
  HISTORY_POINTS,
  type History,
  type HistoryAnswer,
  type HistorySubject,
} from "../../metrics/history.ts";
import { readWhole, sendData } from "./query-parameters.ts";

/** Answers that are longer go out piece by piece, as fast as the client reads. */
const STREAMED_CHARACTERS = 1024 * 1024;
const INTERVAL_SECONDS = HISTORY_INTERVAL_MS / 1_000;
const MAX_SECONDS = HISTORY_POINTS * INTERVAL_SECONDS;
const SECONDS = { least: INTERVAL_SECONDS, most: MAX_SECONDS, byDefault: MAX_SECONDS } as const;

const HistoryParameters = Type.Object(
  {
    seconds: Type.Optional(
      Type.String({
        description: `how far back, ${INTERVAL_SECONDS} to ${MAX_SECONDS}, which is the default`,
      }),
    ),
  },
  { additionalProperties: false },
);

/** For the OpenAPI document: any field's path may stand beside it. */
const FilterParameters = Type.Object({
  filter: Type.Optional(
    Type.String({ description: "MongoDB-style filter as JSON; `key=value` also works" }),
  ),
});
const FilterBody = Type.Object(
  {},
  { description: 'MongoDB-style filter over metrics documents, also as {"query": filter}' },
);

/** What {@link metricsRoutes} needs. */
export interface MetricsRoutesDeps {
  readonly metrics: GlobalMetrics;
  readonly history: Pick<History, "read">;
}

interface IdParams {
  readonly id: string;
  /** Of a history only. */
  readonly node?: string;
}

/**
 * Global cluster metrics, in the envelope: `/cluster/<id>`, `/cluster/query` and `/cluster/aggregate` (`GET` and
 * `POST`), and `/cluster/<id>/history[/<node>]`.
 */
export function metricsRoutes(server: FastifyInstance, deps: MetricsRoutesDeps): void {
  const tags = ["metrics"];
  server.get<{ Params: IdParams }>(
    "/cluster/:id",
    { schema: { tags, summary: "Metrics of one cluster, with its totals" } },
    async (request, reply) => {
      const document = await deps.metrics.cluster(request.principal.orgId, request.params.id);
      return reply.type("application/json").send(`{"success":true,"data":${document.json()}}`);
    },
  );
  queryRoutes(server, deps.metrics);
  historyRoutes(server, deps);
}

function queryRoutes(server: FastifyInstance, metrics: GlobalMetrics): void {
  const both = (
    url: string,
    summary: string,
    answer: (request: MetricsRequest, reply: FastifyReply) => Promise<FastifyReply>,
  ) => {
    const schema = { tags: ["metrics"], summary };
    const ofParameters = { schema: { ...schema, querystring: FilterParameters } };
    server.get(url, ofParameters, async (request, reply) => {
      const filter = filterOfParameters(request.query as Readonly<Record<string, unknown>>);
      return await answer(requestOf(request, reply, filter), reply);
    });
    server.post(url, { schema: { ...schema, body: FilterBody } }, async (request, reply) =>
      answer(requestOf(request, reply, filterOfBody(request.body)), reply),
    );
  };
  both("/cluster/query", "Metrics of the clusters that match a filter", async (request, reply) =>
    sendList(reply, await metrics.query(request)),
  );
  both("/cluster/aggregate", "Sums over the clusters that match a filter", async (request, reply) =>
    sendData(reply, await metrics.aggregate(request)),
  );
}

function historyRoutes(server: FastifyInstance, { metrics, history }: MetricsRoutesDeps): void {
  const answer = async (request: FastifyRequest<{ Params: IdParams }>, reply: FastifyReply) => {
    const { id: clusterId, node: nodeId } = request.params;
    const { orgId } = request.principal;
    const points = pointsOf(parse(HistoryParameters, request.query).seconds);
    const found = history.read({ orgId, clusterId, nodeId }, points);
    // Who is gone has a history for an hour; who never was has none.
    if (found.kind !== "found") await checkKnown(metrics, { orgId, clusterId, nodeId });
    return sendHistory(reply, found, nodeId === undefined ? "cluster" : "node");
  };
  const schema = { tags: ["metrics"], querystring: HistoryParameters };
  const ofCluster = "The last hour of a cluster, one point every 15 s";
  const ofNode = "The last hour of a node, one point every 15 s";
  server.get("/cluster/:id/history", { schema: { ...schema, summary: ofCluster } }, answer);
  server.get("/cluster/:id/history/:node", { schema: { ...schema, summary: ofNode } }, answer);
}

/** NOT_FOUND names what there is not. */
async function checkKnown(
  metrics: GlobalMetrics,
  { orgId, clusterId, nodeId }: HistorySubject,
): Promise<void> {
  const { view } = await metrics.cluster(orgId, clusterId);
  if (nodeId === undefined || view.nodes.has(nodeId)) return;
  const details = { cluster_id: clusterId, node_id: nodeId };
  const message = `node not found: ${nodeId} reports no metrics in cluster ${clusterId}`;
  throw new BerthError("NOT_FOUND", message, { details });
}

function sendHistory(
  reply: FastifyReply,
  answer: HistoryAnswer,
  subject: "cluster" | "node",
): FastifyReply {
  if (answer.kind === "full") {
    const message = `this ${subject} has no history: at most ${answer.limit} series of ${subject}s are kept`;
    throw new BerthError("NOT_FOUND", message);
  }
  const { end, series } = answer;
  return sendData(reply, { interval_seconds: INTERVAL_SECONDS, end, series });
}

function pointsOf(text: string | undefined): number {
  return Math.ceil(readWhole("seconds", text, SECONDS) / INTERVAL_SECONDS);
}

function requestOf(request: FastifyRequest, reply: FastifyReply, filter: unknown): MetricsRequest {
  const gone = new AbortController();
  const canceled = () => new BerthError("CANCELED", "the client is gone");
  reply.raw.once("close", () => gone.abort(canceled()));
  return { orgId: request.principal.orgId, filter, signal: gone.signal };
}

/**
 * Sends documents as a list in the envelope, numbers as they were written. A long list goes out piece by piece, as
 * fast as the client reads, and its texts are made one by one: thousands of nodes have tens of megabytes.
 */
function sendList(reply: FastifyReply, documents: readonly MetricsDocument[]): FastifyReply {
  const json = reply.type("application/json");
  let begun = '{"success":true,"data":[';
  let at = 0;
  for (; at < documents.length && begun.length < STREAMED_CHARACTERS; at += 1) {
    begun += itemText(documents, at);
  }
  if (at === documents.length) return json.send(`${begun}]}`);
  return json.send(Readable.from(pieces(begun, documents, at), { highWaterMark: 1 }));
}

function* pieces(
  begun: string,
  documents: readonly MetricsDocument[],
  from: number,
): Generator<string> {
  yield begun;
  for (let at = from; at < documents.length; at += 1) yield itemText(documents, at);
  yield "]}";
}

function itemText(documents: readonly MetricsDocument[], at: number): string {
  const text = documents[at]?.json() ?? "";
  return at === 0 ? text : `,${text}`;
}
