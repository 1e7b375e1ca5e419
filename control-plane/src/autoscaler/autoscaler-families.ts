import type { Bus, MetricFamily, Observation } from "@berth/service-kit";
import type { Autoscaler } from "./autoscaler.ts";

const OPEN_STATES = ["awaiting_approval", "pending", "dispatched"] as const;

/** What Prometheus is told of the autoscaler, and of the bus that it hears confirmations on. */
export function autoscalerFamilies(
  { scale, log }: Pick<Autoscaler, "scale" | "log">,
  bus: Pick<Bus, "status">,
): readonly MetricFamily[] {
  const decided = () => Object.entries(log.latest?.summary.decisions ?? {});
  return [
    {
      ...{ name: "berth_autoscaler_evaluations_total", type: "counter", labels: ["state"] },
      help: "Evaluations by how they ended.",
      observe: () => [...log.counts].map(([state, value]) => ({ value, labels: { state } })),
    },
    gauge("berth_autoscaler_evaluation_seconds", "How long the last evaluation took.", [], () =>
      log.latest === undefined ? [] : [{ value: log.latest.summary.took_ms / 1_000 }],
    ),
    gauge("berth_autoscaler_subjects", "Subjects by the last decision.", ["decision"], () =>
      decided().map(([decision, value]) => ({ value, labels: { decision } })),
    ),
    gauge("berth_scale_requests_open", "Requests to scale that are not over.", ["state"], () => {
      const open = scale.open();
      return OPEN_STATES.map((state) => {
        const value = open.filter((one) => one.state === state).length;
        return { value, labels: { state } };
      });
    }),
    gauge("berth_bus_up", "1 while the bus is connected.", [], () => [
      { value: bus.status.isConnected ? 1 : 0 },
    ]),
    gauge("berth_outbox_messages", "Messages that the bus has not taken yet.", [], () => [
      { value: scale.outbox().length },
    ]),
  ];
}

function gauge(
  name: string,
  help: string,
  labels: readonly string[],
  observe: () => readonly Observation[],
): MetricFamily {
  return { name, help, type: "gauge", labels, observe };
}
