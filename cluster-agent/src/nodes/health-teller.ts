import type { Clock } from "@berth/service-kit";
import type { NodeNews } from "./node-events.ts";
import type { NodeLens } from "./node-lens.ts";
import { type NodeState, shownGpus } from "./node-state.ts";

/** What a {@link HealthTeller} works with. */
export interface HealthTellerDeps {
  readonly lens: NodeLens;
  readonly news: NodeNews;
  readonly clock: Clock;
  /** Keeps what was told of a node in the store; must not throw. */
  readonly keepTold: (id: string, node: NodeState) => void;
}

/** Tells what is new about the health of nodes and their GPUs, and has it kept what was told. */
export class HealthTeller {
  readonly #deps: HealthTellerDeps;

  constructor(deps: HealthTellerDeps) {
    this.#deps = deps;
  }

  /** Looks at a node; gives whether its GPUs are to be shown otherwise in the cluster document. */
  tell(id: string, node: NodeState): boolean {
    const { lens, news, clock, keepTold } = this.#deps;
    // What was heard before its first report is held over from the record.
    if (!node.hasReported) return false;
    const view = lens.view(id, node);
    const shown = shownGpus(view);
    const isChanged = shown !== node.shownGpus;
    node.shownGpus = shown;
    const before = node.watch.told;
    for (const one of node.watch.look(view, clock.nowMs())) news.health(id, one);
    if (node.watch.told !== before) keepTold(id, node);
    return isChanged;
  }
}
