import { Readable } from "node:stream";
import type { Pacer } from "@berth/service-kit";
import { BerthError, type Clock, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import { GPU_STATES } from "../../metrics/cluster-totals.ts";
import { ROW_KINDS, type RowFilter, type RowKind } from "../../metrics/rows.ts";
import { rowPage } from "../../metrics/rows-page.ts";
import type { WatchHub } from "../../metrics/watch-hub.ts";

const MAX_LIMIT = 10_000;
const DEFAULT_INTERVAL_MS = 1_000;
const MIN_INTERVAL_MS = 200;
const MAX_INTERVAL_MS = 60_000;

const LIST_PATHS: Readonly<Record<RowKind, string>> = {
  clusters: "/metrics/clusters",
  nodes: "/nodes",
  gpus: "/gpus",
};

const ClusterParameter = Type.Optional(Type.String({ description: "id of a cluster" }));
/** What narrows the rows of each kind. */
const FILTERS = {
  clusters: { cluster: ClusterParameter },
  nodes: {
    cluster: ClusterParameter,
    node: Type.Optional(Type.String({ description: "id of a node" })),
  },
  gpus: {
    cluster: ClusterParameter,
    node: Type.Optional(Type.String({ description: "id of a node" })),
    state: Type.Optional(Type.Union(GPU_STATES.map((state) => Type.Literal(state)))),
  },
};
const PAGE_PARAMETERS = {
  limit: Type.Optional(
    Type.String({ pattern: "^[0-9]{1,5}$", description: "1 to 10000, 10000 by default" }),
  ),
  after: Type.Optional(Type.String({ description: "`next` of the page before" })),
};
const WATCH_PARAMETERS = {
  interval_ms: Type.Optional(
    Type.String({
      pattern: "^[0-9]{1,5}$",
      description: "least time between two lines of changes, 200 to 60000, 1000 by default",
    }),
  ),
};

/** What {@link fleetViewRoutes} needs. */
export interface FleetViewDeps {
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  readonly watches: WatchHub;
  readonly pace: Pacer;
  readonly clock: Pick<Clock, "nowMs">;
}

/**
 * The fleet row by row, for people and live clients: `GET /metrics/clusters`, `/nodes` and `/gpus` list it page by
 * page, `GET /watch/clusters`, `/watch/nodes` and `/watch/gpus` follow it as lines of JSON.
 */
export function fleetViewRoutes(server: FastifyInstance, deps: FleetViewDeps): void {
  for (const kind of ROW_KINDS) {
    listRoute(server, kind, deps);
    watchRoute(server, kind, deps);
  }
  // Before the connections are cut: clients see that the lines have ended in order.
  server.addHook("preClose", async () => deps.watches.close());
}

function listRoute(server: FastifyInstance, kind: RowKind, deps: FleetViewDeps): void {
  const parameters = Type.Object(
    { ...FILTERS[kind], ...PAGE_PARAMETERS },
    { additionalProperties: false },
  );
  const summary = `The fleet's ${kind} as rows`;
  const schema = { tags: ["metrics"], summary, querystring: parameters };
  server.get(LIST_PATHS[kind], { schema }, async (request, reply) => {
    const { limit, after, ...filter } = parse(parameters, request.query);
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort(new BerthError("CANCELED", "the client has gone")));
    const fleet = await deps.clusters.snapshot(request.principal.orgId);
    const nowMs = deps.clock.nowMs();
    const query = { kind, filter, limit: limitOf(limit), after, nowMs };
    const { rows, next } = await deps.pace.run(rowPage(fleet, query), gone.signal);
    const more = next === undefined ? "" : `,"next":${JSON.stringify(next)}`;
    const json = `{"success":true,"data":[${rows.join(",")}]${more}}`;
    return reply.type("application/json").send(json);
  });
}

function watchRoute(server: FastifyInstance, kind: RowKind, deps: FleetViewDeps): void {
  const parameters = Type.Object(
    { ...FILTERS[kind], ...WATCH_PARAMETERS },
    { additionalProperties: false },
  );
  const summary = `The fleet's ${kind} as they change: lines of JSON`;
  const schema = { tags: ["metrics"], summary, querystring: parameters };
  // Without HEAD, whose handler would read the endless lines to throw them away.
  const options = { schema, exposeHeadRoute: false };
  server.get(`/watch/${kind}`, options, async (request, reply) => {
    const { interval_ms: interval, ...filter } = parse(parameters, request.query);
    const intervalMs = intervalOf(interval);
    return follow({ request, reply, watches: deps.watches }, { kind, filter, intervalMs });
  });
}

function follow(
  to: {
    readonly request: FastifyRequest;
    readonly reply: FastifyReply;
    readonly watches: WatchHub;
  },
  what: { readonly kind: RowKind; readonly filter: RowFilter; readonly intervalMs: number },
): FastifyReply {
  const { request, reply, watches } = to;
  const { orgId } = request.principal;
  const watch = watches.open({ ...what, orgId, onStall: () => reply.raw.destroy() });
  // A watch that waits for its next tick hears of a lost connection here only.
  reply.raw.once("close", () => watch.close());
  const lines = Readable.from(watch.lines(), { objectMode: false, highWaterMark: 1 });
  return reply
    .type("application/x-ndjson")
    .header("cache-control", "no-store")
    .header("x-accel-buffering", "no")
    .send(lines);
}

function limitOf(text: string | undefined): number {
  const limit = text === undefined ? MAX_LIMIT : Number(text);
  if (limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new BerthError("INVALID_ARGUMENT", `limit: expected a whole number from 1 to ${MAX_LIMIT}`);
}

function intervalOf(text: string | undefined): number {
  const intervalMs = text === undefined ? DEFAULT_INTERVAL_MS : Number(text);
  if (intervalMs >= MIN_INTERVAL_MS && intervalMs <= MAX_INTERVAL_MS) return intervalMs;
  const message = `interval_ms: expected a whole number from ${MIN_INTERVAL_MS} to ${MAX_INTERVAL_MS}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
