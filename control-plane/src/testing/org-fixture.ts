import type { AllocationDocument, InstanceDocument } from "@berth/proto";
import {
  type Clock,
  type DocumentStore,
  Pacer,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import type { ClusterBlocks } from "../fleet/agent-api.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { LinkEvent } from "../fleet/link-event.ts";
import { GlobalMetrics } from "../metrics/global-metrics.ts";
import { type Org, openOrg } from "../org/org.ts";

/** The org that tests open. */
export const TEST_ORG = "default_org";

/** The fleet that an org sees in tests; each part may be changed at any time. */
export interface TestFleet {
  views: readonly ClusterView[];
  /** Clusters that were not heard since the start. */
  unheard: readonly string[];
  blocks: readonly ClusterBlocks[];
  readonly events: LinkEvent[];
}

/** An org on a store, with a fleet that is told. */
export async function openTestOrg(
  store: DocumentStore,
  clock: Clock = systemClock,
): Promise<{ readonly org: Org; readonly fleet: TestFleet }> {
  const fleet: TestFleet = { views: [], unheard: [], blocks: [], events: [] };
  const clusters = {
    snapshot: async () => ({
      revision: 1,
      clusters: new Map(fleet.views.map((view) => [view.id, view])),
    }),
  };
  const pace = new Pacer();
  const org = await openOrg({
    ...{ store, orgId: TEST_ORG, clusters, pace, clock, logger: silentLogger },
    unheard: async () => fleet.unheard,
    blocks: {
      of: (clusterId) => fleet.blocks.find((one) => one.clusterId === clusterId),
      all: () => fleet.blocks,
      withBlock: (blockId) => fleet.blocks.filter(({ blocks }) => blocks.has(blockId)),
      onChange: () => () => undefined,
    },
    metrics: new GlobalMetrics({ clusters, pace, clock }),
    events: { record: (event) => fleet.events.push(event) },
  });
  return { org, fleet };
}

/** The blocks of a cluster: each with so many instances, of which the first are ready. */
export function clusterBlocks(
  clusterId: string,
  blocks: Readonly<Record<string, { readonly ready: number; readonly instances: number }>>,
  allocations: readonly Partial<AllocationDocument>[] = [],
): ClusterBlocks {
  const documents = Object.entries(blocks).map(([blockId, { ready, instances }]) => {
    const all = Array.from({ length: instances }, (_, place) =>
      instance(`in-${place}`, place < ready),
    );
    const times = { created_at: "", updated_at: "" };
    const about = { block_id: blockId, phase: "running", component_uri: "" };
    return [blockId, { ...about, instances: all, ...times }] as const;
  });
  return {
    ...{ clusterId, ledger: undefined, blocks: new Map(documents), operations: new Map() },
    allocations: allocations.map(allocation),
    ...{ leases: [], isBehind: false, isLive: true },
  };
}

function instance(instanceId: string, ready: boolean): InstanceDocument {
  return {
    ...{ instance_id: instanceId, node_id: "n1", gpus: [], phase: "running", ready },
    ...{ restarts: 0, allocation_id: instanceId },
  };
}

function allocation(fields: Partial<AllocationDocument>): AllocationDocument {
  return {
    ...{ allocation_id: "a", block_id: "b", instance_id: "in-0", operation_id: "o" },
    ...{ node_id: "n1", gpus: [], cpu_millis: 0, memory: 0, storage: 0 },
    ...{ state: "committed", orphan: false, taken_at: "" },
    ...fields,
  };
}
