import type { ClusterDocument } from "@berth/proto";
import { parseLossless, plainOf } from "@berth/service-kit";
import type { BlockEntry } from "./block-entry.ts";
import type { BlockPhase, BlockRecord, InstanceRecord } from "./block-records.ts";

/** What the runtime tells of an instance; the runtimes' own observation holds it. */
export interface ObservedFacts {
  readonly phase: "pending" | "running" | "restarting" | "terminating";
  /** Its health check answers. */
  readonly isReady: boolean;
  /** Times that it was started again. */
  readonly restarts: number;
  /** Why it does not run or is not ready, for people. */
  readonly message?: string;
  /** Name of the pod, or of the process. */
  readonly podName?: string;
  readonly endpoints: { readonly control?: string; readonly metrics?: string };
}

/** One instance as clients read it; `init_data`, what it was started with, stands beside. */
export interface InstanceDocument {
  readonly block_id: string;
  readonly instance_id: string;
  readonly node_id: string;
  /** Slot of each device's GPU; two parts of one GPU have the same. */
  readonly gpus: readonly number[];
  /** UUID of each device, in the same order. */
  readonly gpu_uuids: readonly string[];
  /** "pending" while nothing is seen of it. */
  readonly phase: ObservedFacts["phase"];
  readonly ready: boolean;
  readonly restarts: number;
  readonly message?: string;
  readonly pod_name?: string;
  /** URLs; absent ports are not served. */
  readonly endpoints: ObservedFacts["endpoints"];
  /** Empty when the component names none. */
  readonly image: string;
  readonly allocation_id: string;
  /** ISO 8601, for people. */
  readonly created_at: string;
}

/** How a block fares. */
export interface BlockStatus {
  readonly phase: BlockPhase;
  readonly message?: string;
  /** Instances that shall run. */
  readonly instances: number;
  /** Those of them that are ready. */
  readonly ready: number;
}

/** What the document of a block is made of. */
export interface BlockFacts {
  readonly record: BlockRecord;
  /** In the order in which they are shown. */
  readonly instances: readonly InstanceRecord[];
  /** By instance id. */
  readonly observed: ReadonlyMap<string, ObservedFacts>;
}

/** The cluster with numbers as doubles; its nodes, thousands of values, are made so when they are looked at. */
export function plainCluster({ nodes, ...rest }: ClusterDocument): object {
  let plainNodes: unknown;
  return {
    ...(plainOf(rest) as object),
    get nodes() {
      plainNodes ??= plainOf(nodes);
      return plainNodes;
    },
  };
}

/** The cluster of lists and queries: without its nodes, which would stand in every block's document. */
export function leanCluster(cluster: ClusterDocument): object {
  const { count } = cluster.nodes;
  return { ...cluster, nodes: { count } };
}

/**
 * The document of a block that clients read, as JSON text: its entry with numbers as they were written, then `cluster`
 * (given as text), `instances` and `status`.
 */
export function blockDocumentText(facts: BlockFacts, clusterText: string): string {
  const instances = facts.instances.map((instance) => instanceText(facts, instance)).join(",");
  const status = JSON.stringify(blockStatus(facts));
  // An entry has at least an id, so that a comma stands between it and what follows.
  const entry = facts.record.json.slice(0, -1);
  return `${entry},"cluster":${clusterText},"instances":[${instances}],"status":${status}}`;
}

/** The same document as an object: its numbers that need it are `RawNumber`s. */
export function blockDocument(facts: BlockFacts, cluster: object): Record<string, unknown> {
  return documentOf(facts, facts.record.written, { cluster, read: parseLossless });
}

/**
 * The same document with numbers as doubles: what filters and sorts look at. It is made once for a record, as queries look at
 * all of them; what changes is asked for at each look, and made when it is looked at.
 */
export class PlainBlockDocument {
  readonly #document: Record<string, unknown>;
  #facts: BlockFacts;
  #cluster: object = {};
  #instances: readonly object[] | undefined;
  #status: BlockStatus | undefined;

  constructor(facts: BlockFacts) {
    this.#facts = facts;
    const cluster = () => this.#cluster;
    const instances = () => {
      this.#instances ??= instancesOf(this.#facts, JSON.parse);
      return this.#instances;
    };
    const status = () => {
      this.#status ??= blockStatus(this.#facts);
      return this.#status;
    };
    this.#document = {
      ...facts.record.entry,
      get cluster() {
        return cluster();
      },
      get instances() {
        return instances();
      },
      get status() {
        return status();
      },
    };
  }

  /** The document as it is now, until the next look. `cluster` is plain already. */
  look(facts: BlockFacts, cluster: object): Record<string, unknown> {
    this.#facts = facts;
    this.#cluster = cluster;
    this.#instances = undefined;
    this.#status = undefined;
    return this.#document;
  }
}

function documentOf(
  facts: BlockFacts,
  entry: BlockEntry,
  { cluster, read }: { readonly cluster: object; readonly read: (text: string) => unknown },
): Record<string, unknown> {
  let instances: readonly object[] | undefined;
  return {
    ...entry,
    cluster,
    // Most readers take a few fields: what is made of many instances is made when it is looked at.
    get instances() {
      instances ??= instancesOf(facts, read);
      return instances;
    },
    get status() {
      return blockStatus(facts);
    },
  };
}

function instancesOf(facts: BlockFacts, read: (text: string) => unknown): readonly object[] {
  return facts.instances.map((instance) => ({
    ...instanceDocument(facts, instance),
    init_data: read(initData(instance)),
  }));
}

function instanceText(facts: BlockFacts, instance: InstanceRecord): string {
  const document = JSON.stringify(instanceDocument(facts, instance));
  return `${document.slice(0, -1)},"init_data":${initData(instance)}}`;
}

/** JSON text: it was checked when the record was. */
function initData({ initDataJson = "{}" }: InstanceRecord): string {
  return initDataJson;
}

function instanceDocument(
  { record, observed }: BlockFacts,
  instance: InstanceRecord,
): InstanceDocument {
  const { blockId, instanceId, nodeId, devices } = instance;
  const facts = observed.get(instanceId);
  const { message, podName } = facts ?? {};
  const isLeaving = instance.state === "removing";
  return {
    block_id: blockId,
    instance_id: instanceId,
    node_id: nodeId,
    gpus: devices.map(({ slot }) => slot),
    gpu_uuids: devices.map(({ uuid }) => uuid),
    phase: isLeaving ? "terminating" : (facts?.phase ?? "pending"),
    ready: isReady(instance, facts),
    restarts: facts?.restarts ?? 0,
    ...(message === undefined ? {} : { message }),
    ...(podName === undefined ? {} : { pod_name: podName }),
    endpoints: facts?.endpoints ?? {},
    image: record.entry.component?.containerRegistryInfo?.containerImage ?? "",
    allocation_id: instance.allocationId,
    created_at: instance.createdAt,
  };
}

function blockStatus({ record, instances, observed }: BlockFacts): BlockStatus {
  const { phase, message } = record;
  const wanted = instances.filter(({ state }) => state === "wanted");
  return {
    phase,
    ...(message === undefined ? {} : { message }),
    instances: wanted.length,
    ready: wanted.filter((one) => isReady(one, observed.get(one.instanceId))).length,
  };
}

function isReady({ state }: InstanceRecord, facts: ObservedFacts | undefined): boolean {
  return state === "wanted" && facts?.isReady === true;
}
