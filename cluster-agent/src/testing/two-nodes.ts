import process from "node:process";
import { type NodeReportRequest, NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import type { ClusterAgent, ClusterAgentOptions } from "../compose.ts";
import { AUTHORIZED, type Cleanup, enrolNode, nodeClient, Outgoing, startAgent } from "./agent.ts";
import type { Answer, BlockAgent } from "./block-agent.ts";
import { fingerprint, hostSample, registerRequest, until } from "./fixtures.ts";

/** An agent that runs blocks, with nodes that join when they are told to. */
export interface NodesAgent extends BlockAgent {
  /** Lets the agent of a node register and report; rejects with why it is refused. */
  readonly join: (node: TestNode) => Promise<void>;
}

/** A node of a test, on a machine of its own. */
export interface TestNode {
  readonly id: string;
  readonly gpus: readonly string[];
}

/** The node that `startAgent` enrols. */
export const NODE_A: TestNode = { id: "node-a", gpus: ["A-0", "A-1"] };
/** Another one. */
export const NODE_B: TestNode = { id: "node-b", gpus: ["B-0", "B-1"] };

/** Starts an agent to which nodes can join; all of it ends with the test. */
export async function startNodesAgent(
  cleanup: Cleanup,
  given: { readonly dataDir?: string; readonly options?: Partial<ClusterAgentOptions> } = {},
): Promise<NodesAgent> {
  const overrides = given.dataDir === undefined ? {} : { dataDir: given.dataDir };
  const config = { ...overrides, nodeTtlMs: 60_000 };
  const agent = await startAgent(cleanup, config, { process, ...given.options });
  const { blocks } = agent;
  if (blocks === undefined) throw new Error("the agent runs no blocks");
  const join = (node: TestNode) => joinNode(cleanup, agent, node);
  const call: BlockAgent["call"] = async (method, url, body) => {
    const payload = body === undefined ? {} : { payload: body as object };
    const answer = await agent.http.inject({
      ...{ method, url, headers: { host: "localhost" } },
      ...payload,
    });
    return { status: answer.statusCode, body: answer.json() } satisfies Answer;
  };
  const act = (fields: object) => call("POST", "/executeAction", fields);
  return { agent, blocks, call, act, join };
}

/** Lets the agent of a node register and report once; node-a is enrolled, any other is here. */
export async function joinNode(
  cleanup: Cleanup,
  agent: ClusterAgent,
  { id, gpus }: TestNode,
): Promise<void> {
  const machineId = id.replace("node", "machine");
  const isA = id === NODE_A.id;
  const key = id.slice(-1).toUpperCase().repeat(43);
  const { headers } = isA ? AUTHORIZED : await enrolNode(cleanup, agent, { id, key, machineId });
  const client = nodeClient(cleanup, agent);
  const about = fingerprint({ machineId, gpus: [...gpus] });
  const request = registerRequest({ nodeId: id, fingerprint: about });
  const { registrationId } = await client.register(request, { headers });
  const outgoing = new Outgoing<NodeReportRequest>();
  const reported = client.report(outgoing, { headers }).catch(() => undefined);
  cleanup.add(async () => {
    outgoing.end();
    await reported;
  });
  const report = { registrationId, streamSeq: 1n, host: hostSample() };
  outgoing.send(create(NodeReportRequestSchema, report));
  await until(`${id} to be live`, () => agent.nodes.view(id)?.liveness === "live");
}
