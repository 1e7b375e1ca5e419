import { BerthError, isJsonObject, losslessBody, toNumber } from "@berth/service-kit";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { AgentCall } from "../../fleet/agent-api.ts";
import type { BlockGateway } from "../../placement/block-gateway.ts";
import { mannersOf } from "../../placement/placement-request.ts";
import { goneSignal, sendAgentAnswer } from "./agent-reply.ts";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;
const CLUSTER_ACTION_MS = 60_000;
const MOST_MS = 300_000;
const STANDING_MS = 15_000;
/** How a cluster stands, at its agent. */
const STANDINGS = [
  ["/ledger", "Whether a cluster's ledger gives and takes, and why not"],
  ["/nodes", "Where a cluster's nodes stand"],
  ["/prechecks", "Which policy governs which hook of a cluster, and keys that name none"],
] as const;
const PREFIX = "/cluster-actions/";
const REMOVAL = /^\/cluster-actions\/remove-node\/[^/?]+(\?|$)/;

interface IdParams {
  readonly id: string;
}

/**
 * What any cluster's agent serves for its cluster, asked for here: `/clusters/<id>/executeAction`, `…/cluster-actions/…`, and how it stands
 * (`…/ledger`, `…/nodes`, `…/prechecks`).
 */
export function clusterCallRoutes(server: FastifyInstance, gateway: BlockGateway): void {
  const tags = ["clusters"];
  server.post<{ Params: IdParams }>(
    "/clusters/:id/executeAction",
    { schema: { tags, summary: "Have a cluster's agent carry out an action" } },
    async (request, reply) => {
      const { fields, waitMs } = actionOf(losslessBody(request));
      const action = { clusterId: request.params.id, fields, waitMs };
      return sendAgentAnswer(reply, await gateway.act(action, goneSignal(request, reply)));
    },
  );
  for (const [path, summary] of STANDINGS) {
    server.get<{ Params: IdParams }>(
      `/clusters/:id${path}`,
      { schema: { tags, summary } },
      async (request, reply) => {
        const options = { timeoutMs: STANDING_MS, signal: goneSignal(request, reply) };
        const call: AgentCall = { method: "GET", path };
        return sendAgentAnswer(reply, await gateway.ask(request.params.id, call, options));
      },
    );
  }
  server.route<{ Params: IdParams }>({
    method: [...METHODS],
    url: `/clusters/:id${PREFIX}*`,
    exposeHeadRoute: false,
    schema: { tags, summary: "Nodes and the document of a cluster, at its agent" },
    handler: async (request, reply) => {
      const { id } = request.params;
      const action = clusterAction(request);
      const options = { timeoutMs: timeoutOf(request), signal: goneSignal(request, reply) };
      const isRemoval = action.method === "DELETE" && REMOVAL.test(action.path);
      const answer = isRemoval
        ? await gateway.removeNode(id, action.path, options.signal)
        : await gateway.ask(id, action, options);
      return sendAgentAnswer(reply, answer);
    },
  });
}

/** The waiting is done here; the seed writes the fields within `data`, which win. */
function actionOf(body: Readonly<Record<string, unknown>>) {
  const { data, ...flat } = body;
  const inner = isJsonObject(data) ? data : {};
  const { wait, timeout_ms: timeoutMs } = { ...flat, ...inner };
  const { waitMs } = mannersOf({
    ...(wait === undefined ? {} : { wait }),
    ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
  });
  const own = withoutManners(flat);
  // What is no object is the agent's to refuse.
  const nested =
    data === undefined ? {} : { data: isJsonObject(data) ? withoutManners(data) : data };
  return { fields: { ...own, ...nested }, waitMs };
}

function withoutManners(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { wait: _wait, timeout_ms: _timeoutMs, ...rest } = fields;
  return rest;
}

function clusterAction(request: FastifyRequest): AgentCall {
  const { url, method, bodyText } = request;
  const path = url.slice(url.indexOf(PREFIX));
  if (hasDots(path)) {
    throw new BerthError("INVALID_ARGUMENT", "the path: expected no segments of dots");
  }
  const known = METHODS.find((one) => one === method) ?? "GET";
  return { method: known, path, ...(bodyText === "" ? {} : { bodyJson: bodyText }) };
}

/** Whether a path leads elsewhere than it says: readers of URLs take `%2e` for a dot and a backslash for a slash. */
function hasDots(path: string): boolean {
  const [before = ""] = path.split(/[?#]/, 1);
  const segments = before.replace(/%2e/gi, ".").split(/[/\\]/);
  return segments.some((segment) => segment === "." || segment === "..");
}

function timeoutOf({ body }: FastifyRequest): number {
  const asked = isJsonObject(body) ? toNumber(body.timeout_ms) : undefined;
  if (asked === undefined || !(asked > 0)) return CLUSTER_ACTION_MS;
  return Math.min(MOST_MS, Math.ceil(asked) + CLUSTER_ACTION_MS);
}
