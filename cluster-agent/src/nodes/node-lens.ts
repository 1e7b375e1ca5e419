import type { Clock, DuplicateWatch } from "@berth/service-kit";
import { type Liveness, livenessOf } from "./liveness.ts";
import type { NodeRoster } from "./node-roster.ts";
import { excuseSilence, heldOver, type NodeState } from "./node-state.ts";
import { type NodeView, viewOf } from "./node-view.ts";
import type { ReportedNodes } from "./reported-nodes.ts";

/** What a {@link NodeLens} sees with. */
export interface NodeLensDeps {
  readonly clock: Clock;
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
  readonly watch: Pick<DuplicateWatch, "isDuplicate">;
  readonly roster: Pick<NodeRoster, "get">;
  readonly reported: Pick<ReportedNodes, "get">;
}

/** Sees nodes as they are at this moment; counts silence from its own making. */
export class NodeLens {
  readonly #deps: NodeLensDeps;
  readonly #startedAtMs: number;

  constructor(deps: NodeLensDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.nowMs();
  }

  /** The verdict on a node. */
  liveness(id: string, node: Pick<NodeState, "heardAtMs" | "excusedMs">): Liveness {
    const { clock, intervals, watch } = this.#deps;
    return livenessOf({
      nowMs: clock.nowMs(),
      startedAtMs: this.#startedAtMs,
      heardAtMs: node.heardAtMs,
      excusedMs: node.excusedMs,
      ttlMs: intervals.ttlMs,
      duplicate: watch.isDuplicate(id),
    });
  }

  /** We could not listen to the node for the last `stalledMs`. */
  excuse(node: NodeState, stalledMs: number): void {
    const nowMs = this.#deps.clock.nowMs();
    excuseSilence(node, { nowMs, startedAtMs: this.#startedAtMs, stalledMs });
  }

  /** The node, for everything that reads. */
  view(id: string, node: NodeState): NodeView {
    const { clock, intervals, watch, roster, reported } = this.#deps;
    const viewed = {
      id,
      liveness: this.liveness(id, node),
      isDuplicate: watch.isDuplicate(id),
      lifecycle: roster.get(id)?.state ?? ("ready" as const),
      reported: reported.get(id),
      record: node.record,
      telemetry: node,
      heldOver: heldOver(node),
      taken: node.taken,
      version: node.version,
    };
    return viewOf(viewed, { nowMs: clock.nowMs(), startedAtMs: this.#startedAtMs, intervals });
  }
}
