import type { DocumentStore, MetricFamily, ScrapedProgram } from "@berth/service-kit";

/** What is told of the agent itself. */
export interface AgentFamiliesSource {
  readonly link: () => { readonly state: "up" | "down"; readonly reconnects: number };
  /** Events that the control-plane has not acknowledged. */
  readonly outbox: { readonly size: number };
  readonly store: Pick<DocumentStore, "sizeBytes">;
}

/** For an agent that shares its process with others: it knows nothing of its own use, so nothing is told of it. */
export const NO_USAGE: ScrapedProgram["usage"] = {
  cpuUsage: () => ({ user: Number.NaN, system: Number.NaN }),
  memoryUsage: { rss: () => Number.NaN },
  uptime: () => Number.NaN,
};

/** What Prometheus is told of the agent's link, its events and its store. */
export function agentFamilies({ link, outbox, store }: AgentFamiliesSource): MetricFamily[] {
  return [
    {
      name: "berth_link_connected",
      help: "Whether the agent is linked to its control-plane.",
      type: "gauge",
      observe: () => [{ value: Number(link().state === "up") }],
    },
    {
      name: "berth_link_reconnects_total",
      help: "Times that the link came up again.",
      type: "counter",
      observe: () => [{ value: link().reconnects }],
    },
    {
      name: "berth_outbox_events",
      help: "Events that the control-plane has not acknowledged.",
      type: "gauge",
      observe: () => [{ value: outbox.size }],
    },
    storeFamily(store),
  ];
}

/** The store is asked in the background: a scrape tells the size of the one before, the first one none. */
function storeFamily(store: Pick<DocumentStore, "sizeBytes">): MetricFamily {
  let sizeBytes = Number.NaN;
  const refresh = async () => {
    try {
      sizeBytes = await store.sizeBytes();
    } catch {
      sizeBytes = Number.NaN;
    }
  };
  return {
    name: "berth_store_size_bytes",
    help: "Size of the agent's documents on disk, in bytes; absent when the store does not answer.",
    type: "gauge",
    labels: ["store"],
    observe: () => {
      const told = sizeBytes;
      void refresh();
      return [{ value: told, labels: { store: "cluster.db" } }];
    },
  };
}
