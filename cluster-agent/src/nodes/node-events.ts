import type { Candidate, Logger, Reason } from "@berth/service-kit";
import type { FieldProblem } from "./field-check.ts";
import { factEntries, factEntry } from "./health-facts.ts";
import { factReason } from "./health-reasons.ts";
import type { HealthNews } from "./health-watch.ts";
import type { NodeInventory } from "./inventory.ts";
import type { Liveness } from "./liveness.ts";
import type { LifecycleState } from "./node-lifecycle.ts";

/** Something about a node that people and the control-plane want to know. */
export interface NodeEvent {
  readonly kind:
    | "node_joined"
    | "node_telemetry_lost"
    | "node_back"
    | "node_rebooted"
    | "node_duplicate"
    | "node_refused"
    | "node_removed"
    | "node_expected"
    | "node_cordoned"
    | "node_uncordoned"
    | "node_draining"
    | "node_health_fact"
    | "gpu_unhealthy"
    | "gpu_recovered"
    | "gpu_health_fact";
  /** "node/<id>", "node/<id>/gpu/<slot>"; of a fact with its id behind it. */
  readonly key: string;
  /** Plain JSON. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Hears each event of a node once; must not throw. */
export type OnNodeEvent = (event: NodeEvent) => void;

const GOOD_NEWS: ReadonlySet<NodeEvent["kind"]> = new Set([
  "node_joined",
  "node_back",
  "node_removed",
  "node_expected",
  "node_cordoned",
  "node_uncordoned",
  "node_draining",
]);
const STANDS: Readonly<Record<LifecycleState, NodeEvent["kind"] | undefined>> = {
  expected: "node_expected",
  ready: undefined,
  cordoned: "node_cordoned",
  draining: "node_draining",
  removed: undefined,
};
const MAX_TOLD_PROBLEMS = 1_000;
/** Without a time, so that it is one event however often somebody asks. */
const KEY_KEPT =
  "somebody asked for a key in place of the agent's, which may still be there, or is one of two; a token that was made for the node takes its place at once";

/** Tells what happens to nodes, to the log and to whoever listens. */
export class NodeNews {
  readonly #logger: Logger;
  readonly #onEvent: OnNodeEvent;
  /** Refusal that was told last, by node id: an agent that is refused asks again all the time. */
  readonly #refusals = new Map<string, Reason>();
  /** Why others were refused a key as a node: they ask again all the time too. */
  readonly #seconds = new Map<string, Set<string>>();

  constructor(logger: Logger, onEvent: OnNodeEvent) {
    this.#logger = logger;
    this.#onEvent = onEvent;
  }

  /** Tells an event; `level` and `message` are for the log. */
  tell(
    node: string,
    kind: NodeEvent["kind"],
    news: { readonly message: string; readonly facts: NodeEvent["facts"] },
  ): void {
    const alarming = kind === "node_duplicate" ? "error" : "warn";
    const level = GOOD_NEWS.has(kind) ? "info" : alarming;
    this.#logger[level](news.message, { node, ...news.facts });
    this.#onEvent({ kind, key: `node/${node}`, facts: news.facts });
  }

  /** Tells that a node was seen for the first time. */
  joined(node: string, { machineId, bootId, gpus }: NodeInventory): void {
    const facts = { machineId, bootId, gpus: gpus.length };
    this.tell(node, "node_joined", { message: "a node joined", facts });
  }

  /** Tells that the machine of a node has booted. */
  rebooted(node: string, facts: { readonly bootId: string; readonly formerBootId: string }): void {
    this.tell(node, "node_rebooted", { message: "a node has rebooted", facts });
  }

  /** Tells that two agents run as one node. */
  duplicate(node: string, candidates: readonly Candidate[]): void {
    const message = "two agents run as one node: both are refused until an operator picks one";
    this.tell(node, "node_duplicate", { message, facts: { candidates } });
  }

  /** Tells that a node is heard again, or not any more. */
  verdict(
    node: string,
    change: { readonly from: Liveness; readonly to: Liveness; readonly duplicate: boolean },
  ): void {
    const { from, to, duplicate } = change;
    const message = "node verdict changed";
    const facts = { from, to };
    // That there are two of it was told as such; that a node is heard after our own start is no news.
    if (to === "telemetry_lost" && !duplicate) {
      this.tell(node, "node_telemetry_lost", { message, facts });
    } else if (to === "live" && from === "telemetry_lost") {
      this.tell(node, "node_back", { message, facts });
    } else {
      this.#logger.info(message, { node, ...facts });
    }
  }

  /**
   * Tells a refusal of a known node once, until another reason or {@link admitted}. That an agent waits
   * for the one before it is for the log only.
   */
  refused(node: string, refusal: { readonly reason: Reason; readonly message: string }): void {
    const { reason, message: why } = refusal;
    if (this.#refusals.get(node) === reason) return;
    this.#refusals.set(node, reason);
    if (reason === "UNAVAILABLE") {
      this.#logger.info("an agent waits, another one of its node may still be there", { node });
      return;
    }
    this.tell(node, "node_refused", { message: "a node was refused", facts: { reason, why } });
  }

  /** Tells that another machine was refused under the id of a node, once for each reason until {@link admitted}. */
  secondRefused(node: string, why: string): void {
    const message = "a second machine claims a node";
    this.#secondOnce(node, { message, facts: { reason: "ALREADY_EXISTS", why } });
  }

  /** Tells that a token that was not made for a node got no key as it, once for each reason until {@link admitted}. */
  keyKept(node: string, reason: Reason): void {
    const message = "a second agent asks for the key of a node";
    this.#secondOnce(node, { message, facts: { reason, why: KEY_KEPT } });
  }

  /** Tells that an operator has removed a node. */
  removed(node: string, facts: { readonly force: boolean; readonly connected: boolean }): void {
    this.admitted(node);
    this.tell(node, "node_removed", { message: "a node was removed", facts });
  }

  /** Tells that a node stands otherwise than before. That it has joined or was removed is told as such. */
  stands(
    node: string,
    change: { readonly from: LifecycleState | undefined; readonly to: LifecycleState },
  ): void {
    const { from, to } = change;
    const isBack = to === "ready" && (from === "cordoned" || from === "draining");
    const kind = isBack ? "node_uncordoned" : STANDS[to];
    if (kind === undefined) return;
    const message = "a node stands otherwise";
    this.tell(node, kind, { message, facts: { from: from ?? null, to } });
  }

  /** Tells what is new about the health of a node and its GPUs. */
  health(node: string, news: HealthNews): void {
    if (news.kind === "health_fact") {
      this.#fact(node, news);
      return;
    }
    const { kind, slot, uuid, reason } = news;
    const isWell = kind === "gpu_recovered";
    const level = isWell ? "info" : "warn";
    const message = isWell ? "a GPU has recovered" : "a GPU is unhealthy";
    this.#logger[level](message, { node, gpu: slot, uuid, reason });
    const facts = { uuid, reason, facts: factEntries(news.facts) };
    this.#onEvent({ kind, key: `node/${node}/gpu/${slot}`, facts });
  }

  /** Each fact has a key of its own: an event takes the place of an older one of its key that was not sent. */
  #fact(node: string, { slot, fact, omitted }: Extract<HealthNews, { kind: "health_fact" }>): void {
    const { gpuUuid: uuid, factId } = fact;
    const reason = factReason(fact);
    const [kind, subject] =
      slot === undefined
        ? (["node_health_fact", `node/${node}`] as const)
        : (["gpu_health_fact", `node/${node}/gpu/${slot}`] as const);
    const facts = { uuid, reason, ...factEntry(fact), ...(omitted === 0 ? {} : { omitted }) };
    this.#logger.warn("a grave fact about a GPU or its node", { node, gpu: slot, ...facts });
    this.#onEvent({ kind, key: `${subject}/${factId}`, facts });
  }

  /** Logs fields of samples that were dropped, each once; `told` are the ones that were. */
  dropped(node: string, told: Set<string>, problems: readonly FieldProblem[]): void {
    for (const { field, why } of problems) {
      if (told.has(field) || told.size >= MAX_TOLD_PROBLEMS) continue;
      told.add(field);
      this.#logger.warn("a field of a sample was dropped", { node, field, why });
    }
  }

  /** The node was let in: the next refusal is told again. */
  admitted(node: string): void {
    this.#refusals.delete(node);
    this.#seconds.delete(node);
  }

  #secondOnce(
    node: string,
    news: { readonly message: string; readonly facts: { readonly reason: Reason; why: string } },
  ): void {
    const { reason, why } = news.facts;
    const told = this.#seconds.get(node) ?? new Set();
    if (told.has(reason + why)) return;
    this.#seconds.set(node, told.add(reason + why));
    this.tell(node, "node_refused", news);
  }
}
