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
  /** A node that is refused, or whose stream ends, tries again after so long, ms; absent: a refusal rejects. */
  readonly retryEveryMs?: number;
}

/** Enrols and registers "node-0" and on, with idle GPUs "GPU-<node>-<gpu>", and sends their reports. */
export async function joinNodes(
  agent: Pick<ClusterAgent, "nodePort">,
  given: JoiningNodes,
): Promise<void> {
  const baseUrl = `http://127.0.0.1:${agent.nodePort()}`;
  const transport = createConnectTransport({ baseUrl, httpVersion: "2" });
  await Promise.all(
    Array.from({ length: given.nodes }, async (_, place) => {
      const first = join(transport, place, given);
      if (given.retryEveryMs === undefined) return first;
      void keepJoined({ transport, place, given }, first);
      return first.catch(() => undefined);
    }),
  );
}

async function keepJoined(
  node: { readonly transport: Transport; readonly place: number; readonly given: JoiningNodes },
  first: Promise<Joined>,
): Promise<never> {
  const { transport, place, given } = node;
  for (let joined = first; ; joined = join(transport, place, given)) {
    await joined.then(({ ended }) => ended).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, given.retryEveryMs));
  }
}

/** A node that was taken in. */
interface Joined {
  /** Settles when its stream is over. */
  readonly ended: Promise<unknown>;
}

async function join(transport: Transport, place: number, given: JoiningNodes): Promise<Joined> {
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
  const ended = client.report(outgoing, authorized).catch(() => undefined);
  const idle = { memoryUsedMib: 0n, memoryFreeMib: 81_920n, utilizationPercent: 0 };
  let streamSeq = 0n;
  const report = () => {
    streamSeq += 1n;
    const samples = gpus.map((uuid) => gpuSample(uuid, idle));
    const facts = { registrationId, streamSeq, host: hostSample(), gpus: samples };
    outgoing.send(create(NodeReportRequestSchema, facts));
  };
  report();
  if (given.reportEveryMs !== undefined) {
    const reporting = setInterval(report, given.reportEveryMs);
    void ended.then(() => clearInterval(reporting));
  }
  return { ended };
}
