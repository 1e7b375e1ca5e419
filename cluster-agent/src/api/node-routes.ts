import {
  BerthError,
  bodyObject,
  type CandidateView,
  type createHttpServer,
  type DuplicatesView,
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

/**
 * Two agents of one node: `GET /nodes/:id/duplicates` lists them, `POST /nodes/:id/pick` with `boot_id` or
 * `agent_instance_id` tells which one is the node.
 */
export function addNodeRoutes(server: HttpServer, nodes: NodeRegistry): void {
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
