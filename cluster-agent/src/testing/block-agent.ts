import process from "node:process";
import { type NodeReportRequest, NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import type { ClusterAgent, ClusterAgentOptions } from "../compose.ts";
import { AUTHORIZED, type Cleanup, nodeClient, Outgoing, startAgent } from "./agent.ts";
import { fingerprint, hostSample, registerRequest, until } from "./fixtures.ts";

/** GPUs of node-a. */
export const GPUS = ["GPU-0", "GPU-1", "GPU-2", "GPU-3"];

/** What a request does. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What {@link startBlockAgent} gives. */
export interface BlockAgent {
  readonly agent: ClusterAgent & { stop: () => Promise<void> };
  /** The parts that run blocks. */
  readonly blocks: NonNullable<ClusterAgent["blocks"]>;
  /** Calls the REST surface. */
  readonly call: (method: Method, url: string, body?: unknown) => Promise<Answer>;
  /** `POST /executeAction`. */
  readonly act: (fields: object) => Promise<Answer>;
}

/** An answer of the REST surface. */
export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any answer
  readonly body: any;
}

/** An agent that runs blocks as local processes, with node-a and its four GPUs; all of it ends with the test. */
export async function startBlockAgent(
  cleanup: Cleanup,
  given: {
    readonly dataDir?: string;
    readonly options?: Partial<ClusterAgentOptions>;
    readonly config?: Partial<ClusterAgentOptions["config"]>;
  } = {},
): Promise<BlockAgent> {
  const overrides = given.dataDir === undefined ? {} : { dataDir: given.dataDir };
  const config = { ...overrides, nodeTtlMs: 60_000, ...given.config };
  const agent = await startAgent(cleanup, config, { process, ...given.options });
  const { blocks } = agent;
  if (blocks === undefined) throw new Error("the agent runs no blocks");
  const client = nodeClient(cleanup, agent);
  const request = registerRequest({ fingerprint: fingerprint({ gpus: GPUS }) });
  const { registrationId } = await client.register(request, AUTHORIZED);
  const outgoing = new Outgoing<NodeReportRequest>();
  const reported = client.report(outgoing, AUTHORIZED).catch(() => undefined);
  cleanup.add(async () => {
    outgoing.end();
    await reported;
  });
  const report = { registrationId, streamSeq: 1n, host: hostSample() };
  outgoing.send(create(NodeReportRequestSchema, report));
  await until("the ledger to open", () => blocks.ledger.status.state === "open");
  const call = async (method: Method, url: string, body?: unknown) => {
    const payload = body === undefined ? {} : { payload: body as object };
    const headers = { host: "localhost" };
    const answer = await agent.http.inject({ method, url, headers, ...payload });
    return { status: answer.statusCode, body: answer.json() };
  };
  return { agent, blocks, call, act: (fields) => call("POST", "/executeAction", fields) };
}
