import { pick } from "../support/synthetic-cluster.ts";
import { type Answer, ask } from "./agent-client.ts";

/** What a client asks for: sent again with the same key until it is answered. */
export interface SoakRequest {
  /** POST by default. */
  readonly method?: "DELETE";
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Ids that all clients use, so that they get into each other's way. */
export const BLOCK_IDS = ["blk-a", "blk-b", "blk-c", "blk-d"];

/** Makes up what a client does next, from what it sees. Equal seeds and equal sights make equal requests. */
export async function nextRequest(
  url: string,
  { key, program }: { readonly key: string; readonly program: object },
  random: () => number,
): Promise<SoakRequest | undefined> {
  const blockId = pick(BLOCK_IDS, random) ?? "";
  const choice = random();
  const count = 1 + Math.floor(random() * 2);
  const instances = await instancesOf(url, blockId);
  const place = Math.floor(random() * Math.max(1, instances.length));
  const instanceId = instances[place];
  const action = (fields: object) => {
    return { path: "/executeAction", body: { ...fields, idempotency_key: key } };
  };
  if (choice < 0.3) {
    const block_data = entry(blockId, program, random);
    const leased = random() < 0.5 ? await ownLease(url, { key, block_data }, random) : {};
    return action({ action: "create_block", block_data, ...leased });
  }
  if (choice < 0.4) return action({ action: "remove_block", block_id: blockId });
  if (choice < 0.55) {
    const more = { operation: "upscale", instances_count: count };
    const taken = await takenLease(url, random);
    return action({ action: "scale", block_id: blockId, ...more, ...taken });
  }
  if (choice < 0.85) {
    if (instanceId === undefined) return undefined;
    if (choice < 0.65) {
      const more = { operation: "downscale", instances_list: [instanceId], force: true };
      return action({ action: "scale", block_id: blockId, ...more });
    }
    if (choice < 0.75) {
      const about = { block_id: blockId, instance_id: instanceId, force: true };
      return action({ action: "remove_instance", ...about });
    }
    const moved = { block_id: blockId, instance_id: instanceId, ready_timeout_ms: 300 };
    return action({ action: "reassign", ...moved });
  }
  if (choice < 0.92) return leaseRequest(key, random);
  return choice < 0.96 ? cordonRequest(random) : rosterRequest(key, random);
}

/** What a request asks for, for people. */
export function kindOf({ path, body }: SoakRequest): string {
  const kind = String(
    body.action ??
      path
        .split("/")
        .slice(1, 3)
        .join(" ")
        .replace(/ node-\d+(\?.*)?$/, ""),
  );
  return body.lease_ids === undefined ? kind : `${kind} with a lease`;
}

/** Sends a request; undefined when the agent died before it answered. */
export function send(url: string, request: SoakRequest): Promise<Answer | undefined> {
  const { method = "POST", path, body } = request;
  if (method === "DELETE") return ask(`${url}${path}`, method);
  const limit = path === "/executeAction" ? { timeout_ms: 20_000 } : {};
  return ask(`${url}${path}`, "POST", { ...body, ...limit });
}

function entry(id: string, program: object, random: () => number): object {
  const gpus = Math.floor(random() * 3);
  const isShared = gpus > 0 && random() < 0.3;
  return {
    id,
    component: { containerRegistryInfo: program },
    resources: {
      ...{ cpuMillis: 100, memoryMiB: 256, gpus },
      ...(isShared ? { gpuMemoryMiB: 20_000 } : {}),
    },
    ...{ minInstances: 1 + Math.floor(random() * 2), maxInstances: 6 },
  };
}

function leaseRequest(key: string, random: () => number): SoakRequest {
  const node_id = `node-${Math.floor(random() * 3)}`;
  const gpus = [String(Math.floor(random() * 4))];
  const ttl_ms = 1_000 + Math.floor(random() * 1_000);
  return { path: "/leases", body: { lease_id: key, subject: "soak", node_id, gpus, ttl_ms } };
}

/** Nodes are closed less often than opened, so that there is mostly room. */
function cordonRequest(random: () => number): SoakRequest {
  const kind = random() < 0.4 ? "cordon" : "uncordon";
  return { path: `/cluster-actions/${kind}-node/node-${Math.floor(random() * 3)}`, body: {} };
}

/** A node goes, its instances with it, or comes back. */
function rosterRequest(key: string, random: () => number): SoakRequest {
  const id = `node-${Math.floor(random() * 3)}`;
  const isGoing = random() < 0.45;
  const manners = new URLSearchParams({
    ...{ force: String(random() < 0.5), timeout_ms: "1500", idempotency_key: key },
  });
  if (!isGoing) return { path: "/cluster-actions/add-node", body: { id } };
  const path = `/cluster-actions/remove-node/${id}?${manners}`;
  return { method: "DELETE", path, body: {} };
}

/** A lease for one instance of a block, which its creation takes over, if it is not void by then. */
async function ownLease(
  url: string,
  { key, block_data }: { readonly key: string; readonly block_data: object },
  random: () => number,
): Promise<object> {
  const node_id = `node-${Math.floor(random() * 3)}`;
  const lease_id = `${key}/lease`;
  const body = { lease_id, subject: "soak", node_id, block_data, ttl_ms: 2_000 };
  const answer = await ask(`${url}/leases`, "POST", body);
  const isHeld = answer !== undefined && answer.status < 300;
  return isHeld ? { lease_ids: [lease_id], lease_subject: "soak" } : {};
}

/** Half of the time a lease that somebody holds, to be taken over; it may be void or of another size by then. */
async function takenLease(url: string, random: () => number): Promise<object> {
  const isWanted = random() < 0.5;
  const choice = random();
  if (!isWanted) return {};
  const answer = await ask(`${url}/leases`, "GET");
  const leases: readonly { lease_id: string }[] = answer?.body.data ?? [];
  const ids = leases.map((one) => one.lease_id).sort();
  const leaseId = ids[Math.floor(choice * ids.length)];
  return leaseId === undefined ? {} : { lease_ids: [leaseId], lease_subject: "soak" };
}

async function instancesOf(url: string, blockId: string): Promise<readonly string[]> {
  const answer = await ask(`${url}/blocks/${blockId}`, "GET");
  const instances: readonly { instance_id: string }[] = answer?.body.data?.instances ?? [];
  return instances.map((one) => one.instance_id).sort();
}
