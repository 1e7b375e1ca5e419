import { Readable } from "node:stream";
import type { Pacer } from "@berth/service-kit";
import { BerthError, type Clock, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import { GPU_STATES } from "../../fleet/cluster-totals.ts";
import { ROW_KINDS, type RowFilter, type RowKind } from "../../metrics/rows.ts";
import { rowPage } from "../../metrics/rows-page.ts";
import type { WatchHub } from "../../metrics/watch-hub.ts";
import { readWhole } from "./query-parameters.ts";

const LIMITS = { least: 1, most: 10_000, byDefault: 10_000 } as const;
const INTERVALS_MS = { least: 200, most: 60_000, byDefault: 1_000 } as const;

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
  limit: Type.Optional(Type.String({ description: "1 to 10000, 10000 by default" })),
  after: Type.Optional(Type.String({ description: "`next` of the page before" })),
};
const WATCH_PARAMETERS = {
  interval_ms: Type.Optional(
    Type.String({
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
    const query = { kind, filter, limit: readWhole("limit", limit, LIMITS), after, nowMs };
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
    const intervalMs = readWhole("interval_ms", interval, INTERVALS_MS);
    await deps.watches.opening();
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
