import {
  BerthError,
  bodyObject,
  type CandidateView,
  type createHttpServer,
  type DuplicatesView,
  type Enrolment,
  parse,
} from "@berth/service-kit";
import { Type } from "typebox";
import type { LifecycleState } from "../nodes/node-lifecycle.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import type { ClusterGovernor, NodeInstance } from "./cluster-governor.ts";
import { nodeDocument } from "./node-documents.ts";
import { goneSignal } from "./operation-answers.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

const PickBody = Type.Object(
  {
    boot_id: Type.Optional(Type.String({ maxLength: 256 })),
    agent_instance_id: Type.Optional(Type.String({ maxLength: 256 })),
  },
  { additionalProperties: false },
);

const RemovalParameters = Type.Object(
  { force: Type.Optional(Type.Union([Type.Literal("true"), Type.Literal("false")])) },
  { additionalProperties: false },
);

const STATES = [
  "expected",
  "ready",
  "cordoned",
  "draining",
  "removed",
] as const satisfies LifecycleState[];

const ListParameters = Type.Object(
  { state: Type.Optional(Type.Enum(STATES)) },
  { additionalProperties: false },
);

/** What {@link addNodeRoutes} serves from. */
export interface NodeRoutesOptions {
  readonly nodes: NodeRegistry;
  /** Keys of node-agents. */
  readonly enrolment: Enrolment;
  readonly governor: Pick<ClusterGovernor, "removeNode">;
  /** What runs on a node. */
  readonly instancesOn: (nodeId: string) => readonly NodeInstance[];
}

/**
 * Nodes: `GET /nodes` (`state`; without it all but removed ones) and `GET /nodes/:id` tell where each stands. Two agents of one node: `GET /nodes/:id/duplicates` lists them, `POST /nodes/:id/pick` with `boot_id` or
 * `agent_instance_id` tells which one is the node. `DELETE /nodes/:id` forgets a node and ends its key, also
 * that of a connected agent, or of one on which something runs, with `?force=true`; unlike `remove-node` it moves
 * nothing, and lets the node join again.
 */
export function addNodeRoutes(server: HttpServer, options: NodeRoutesOptions): void {
  const { nodes } = options;
  server.get("/nodes", async ({ query }) => {
    const { state: wanted } = parse(ListParameters, query);
    const all = [...nodes.roster.all()].sort(([a], [b]) => (a < b ? -1 : 1));
    const shown = all.filter(([, { state }]) => {
      return wanted === undefined ? state !== "removed" : state === wanted;
    });
    return { success: true, data: shown.map(([id, one]) => nodeDocument(id, one, nodes.view(id))) };
  });
  server.get<{ Params: { id: string } }>("/nodes/:id", async ({ params: { id } }) => {
    const stands = nodes.roster.get(id);
    if (stands === undefined) throw unknownNode(id);
    return { success: true, data: nodeDocument(id, stands, nodes.view(id)) };
  });
  server.get<{ Params: { id: string } }>("/nodes/:id/duplicates", async ({ params }) => ({
    success: true,
    data: document(params.id, nodes.duplicates(params.id)),
  }));
  server.post<{ Params: { id: string } }>("/nodes/:id/pick", async (request) => {
    const { id } = request.params;
    const { boot_id: bootId, agent_instance_id: instanceId } = parse(PickBody, bodyObject(request));
    await nodes.pick(id, { bootId, instanceId });
    return { success: true, data: document(id, nodes.duplicates(id)) };
  });
  addForgetting(server, options);
}

function addForgetting(server: HttpServer, options: NodeRoutesOptions): void {
  const { nodes, enrolment, governor, instancesOn } = options;
  server.delete<{ Params: { id: string } }>("/nodes/:id", async (request, reply) => {
    const { id } = request.params;
    const { force = "false" } = parse(RemovalParameters, request.query);
    // A removed one too: forgetting it lets it join again. Of one that nobody knows there is only a key.
    const isKnown = nodes.roster.get(id) !== undefined;
    const warnings = isKnown ? await governor.removeNode(id, goneSignal(reply)) : [];
    const { length: held } = instancesOn(id);
    if (held > 0 && force === "false") throw heldNode(id, held);
    const forgetKey = () => enrolment.forget(id);
    await nodes.remove(id, { force: force === "true", forgetKey });
    await nodes.roster.forget(id);
    const told = warnings.length === 0 ? {} : { warnings };
    return { success: true, data: { message: "Node deleted" }, ...told };
  });
}

function heldNode(id: string, held: number): BerthError {
  const how = `DELETE /cluster-actions/remove-node/${id} moves them`;
  const message = `${held} instances hold something of node ${JSON.stringify(id)}: ${how}; force=true forgets it all the same`;
  return new BerthError("PRECONDITION_FAILED", message);
}

function unknownNode(id: string): BerthError {
  return new BerthError("NOT_FOUND", `no node ${JSON.stringify(id)}`);
}

function document(id: string, view: DuplicatesView | undefined) {
  if (view === undefined) throw unknownNode(id);
  const { state, since, candidates } = view;
  return { node_id: id, state, since: since ?? null, candidates: candidates.map(candidate) };
}

function candidate(view: CandidateView) {
  return {
    agent_instance_id: view.instanceId,
    boot_id: view.bootId,
    node_incarnation: view.incarnation,
    address: view.address ?? null,
    first_seen_at: view.firstSeenAt,
    age_ms: view.ageMs ?? null,
    verdict: view.verdict,
  };
}
