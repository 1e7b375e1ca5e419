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
import type { NodeRegistry } from "../nodes/node-registry.ts";

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

/** What {@link addNodeRoutes} serves from. */
export interface NodeRoutesOptions {
  readonly nodes: NodeRegistry;
  /** Keys of node-agents. */
  readonly enrolment: Enrolment;
}

/**
 * Two agents of one node: `GET /nodes/:id/duplicates` lists them, `POST /nodes/:id/pick` with `boot_id` or
 * `agent_instance_id` tells which one is the node. `DELETE /nodes/:id` forgets a node and ends its key, also
 * that of a connected agent with `?force=true`.
 */
export function addNodeRoutes(server: HttpServer, { nodes, enrolment }: NodeRoutesOptions): void {
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
  server.delete<{ Params: { id: string } }>("/nodes/:id", async (request) => {
    const { id } = request.params;
    const { force = "false" } = parse(RemovalParameters, request.query);
    const forgetKey = () => enrolment.forget(id);
    await nodes.remove(id, { force: force === "true", forgetKey });
    return { success: true, data: { message: "Node deleted" } };
  });
}

function document(id: string, view: DuplicatesView | undefined) {
  if (view === undefined) throw new BerthError("NOT_FOUND", `no node ${JSON.stringify(id)}`);
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
