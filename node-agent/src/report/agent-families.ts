import { HealthClass, Quality } from "@berth/proto";
import type { MetricFamily } from "@berth/service-kit/base";
import type { HealthSource } from "../health/health-source.ts";
import type { LinkStatus } from "./node-link.ts";

const CLASSES: readonly (readonly [name: string, value: HealthClass])[] = [
  ["info", HealthClass.INFO],
  ["application", HealthClass.APPLICATION],
  ["reset", HealthClass.RESET],
  ["hardware", HealthClass.HARDWARE],
];

/** What {@link agentFamilies} reads. */
export interface AgentSources {
  readonly health: Pick<HealthSource, "report">;
  readonly link: { status(): LinkStatus };
}

/** Families of the node's health and of the link to the cluster-agent, for Prometheus. */
export function agentFamilies({ health, link }: AgentSources): MetricFamily[] {
  return [
    {
      name: "berth_health_facts",
      help: "Facts of this boot about the health of the node and its GPUs, by what they ask for.",
      type: "gauge",
      labels: ["class"],
      observe: () => {
        const { facts } = health.report();
        return CLASSES.map(([name, value]) => ({
          value: facts.filter(({ healthClass }) => healthClass === value).length,
          labels: { class: name },
        }));
      },
    },
    {
      name: "berth_kernel_log_readable",
      help: "1 while the kernel log can be read, so that XIDs are known, else 0.",
      type: "gauge",
      observe: () => [{ value: health.report().kernelLog === Quality.UNAVAILABLE ? 0 : 1 }],
    },
    {
      name: "berth_link_connected",
      help: "1 while the agent is registered with its cluster-agent and reports, else 0.",
      type: "gauge",
      observe: () => [{ value: link.status().connected ? 1 : 0 }],
    },
    {
      name: "berth_link_reconnects_total",
      help: "Registrations with the cluster-agent after the first one.",
      type: "counter",
      observe: () => [{ value: Math.max(0, link.status().registrations - 1) }],
    },
    {
      name: "berth_link_failures_total",
      help: "Sessions with the cluster-agent that failed, also before a registration.",
      type: "counter",
      observe: () => [{ value: link.status().failures }],
    },
  ];
}
