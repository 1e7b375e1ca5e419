import { createHash } from "node:crypto";
import {
  EnrolmentService,
  type NodeReportRequest,
  NodeReportRequestSchema,
  NodeService,
} from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { ClusterAgent } from "../compose.ts";
import { LOCAL_TOKEN, Outgoing } from "./agent.ts";
import { fingerprint, gpuSample, hostSample, registerRequest } from "./fixtures.ts";

/** Nodes that join an agent of this machine through its port, as node-agents do. */
export interface JoiningNodes {
  readonly nodes: number;
  readonly gpusPerNode: number;
  /** Time between two reports, ms; absent: each reports once, and is live for its TTL. */
  readonly reportEveryMs?: number;
}

/** Enrols and registers "node-0" and on, with idle GPUs "GPU-<node>-<gpu>", and sends their reports. */
export async function joinNodes(
  agent: Pick<ClusterAgent, "nodePort">,
  given: JoiningNodes,
): Promise<void> {
  const baseUrl = `http://127.0.0.1:${agent.nodePort()}`;
  const transport = createConnectTransport({ baseUrl, httpVersion: "2" });
  await Promise.all(
    Array.from({ length: given.nodes }, (_, place) => join(transport, place, given)),
  );
}

async function join(transport: Transport, place: number, given: JoiningNodes): Promise<void> {
  const nodeId = `node-${place}`;
  const machineId = `machine-${place}`;
  const key = `${place}`.padEnd(43, "k");
  const keySha256 = createHash("sha256").update(key).digest();
  await createClient(EnrolmentService, transport).enrol(
    { subjectId: nodeId, identity: `machine:${machineId}`, keySha256 },
    { headers: { authorization: `Bearer ${LOCAL_TOKEN}` } },
  );
  const gpus = Array.from({ length: given.gpusPerNode }, (_, gpu) => `GPU-${place}-${gpu}`);
  const authorized = { headers: { authorization: `Bearer ${key}` } };
  const client = createClient(NodeService, transport);
  const request = registerRequest({
    nodeId,
    agentInstanceId: `${nodeId}-${process.pid}`,
    nodeIncarnation: BigInt(Date.now()),
    fingerprint: fingerprint({ machineId, gpus }),
  });
  const { registrationId } = await client.register(request, authorized);
  const outgoing = new Outgoing<NodeReportRequest>();
  void client.report(outgoing, authorized).catch(() => undefined);
  const idle = { memoryUsedMib: 0n, memoryFreeMib: 81_920n, utilizationPercent: 0 };
  let streamSeq = 0n;
  const report = () => {
    streamSeq += 1n;
    const samples = gpus.map((uuid) => gpuSample(uuid, idle));
    const facts = { registrationId, streamSeq, host: hostSample(), gpus: samples };
    outgoing.send(create(NodeReportRequestSchema, facts));
  };
  report();
  if (given.reportEveryMs !== undefined) setInterval(report, given.reportEveryMs);
}
