import {
  type DuplicatesView,
  type DuplicateWatch,
  type PickRequest,
  Serial,
} from "@berth/service-kit";
import type { CheckedRegistration } from "./check-fingerprint.ts";
import type { TakenGpus } from "./gpu-verdict.ts";
import { HealthTeller } from "./health-teller.ts";
import type { NodeInventory } from "./inventory.ts";
import type { NodeNews } from "./node-events.ts";
import { NodeKeys } from "./node-keys.ts";
import { NodeLens } from "./node-lens.ts";
import { lifecycleStep } from "./node-lifecycle.ts";
import {
  askingInstance,
  changedRecord,
  hasRebooted,
  registeredRecord,
  reportedRecord,
  toldRecord,
} from "./node-record.ts";
import {
  connectedNode,
  duplicateRefusal,
  placeRefusal,
  type RegisterOutcome,
  type Registration,
  unknownNode,
} from "./node-registration.ts";
import type { NodeRegistryOptions } from "./node-registry-options.ts";
import type { LifecycleChange, NodeRoster } from "./node-roster.ts";
import { type NodeSpeaker, speakerRefusal } from "./node-speaker.ts";
import {
  adoptRecord,
  heardNode,
  type NodeReport,
  type NodeState,
  newNodeState,
  takeReport,
} from "./node-state.ts";
import type { NodeRecord, NodeView } from "./node-view.ts";
import { RegistrationBook } from "./registration-book.ts";
import { isReportedOnly, type ReportedNode, ReportedNodes } from "./reported-nodes.ts";

const TWO_AGENTS = "two agents run as this node";

/** How a node is forgotten. */
export interface NodeRemoval {
  /** Also when its agent is connected. */
  readonly force: boolean;
  /** Ends its key, and gives whether it had one. */
  readonly forgetKey: () => Promise<boolean>;
}

/** The nodes of a cluster: who they are, what they last said, and whether they are still there. */
export class NodeRegistry {
  /** What becomes of the keys of nodes. */
  readonly keys: NodeKeys;
  /** Where each node stands, also those that have not joined, or were removed. */
  readonly roster: NodeRoster;
  readonly #options: NodeRegistryOptions;
  readonly #watch: DuplicateWatch;
  readonly #news: NodeNews;
  readonly #lens: NodeLens;
  readonly #teller: HealthTeller;
  readonly #nodes = new Map<string, NodeState>();
  readonly #registrations = new RegistrationBook();
  readonly #reported = new ReportedNodes();
  readonly #serial = new Serial();
  #version = 0;
  #structureVersion = 0;

  constructor(
    options: NodeRegistryOptions,
    opened: {
      readonly records: ReadonlyMap<string, NodeRecord>;
      readonly watch: DuplicateWatch;
      readonly news: NodeNews;
      readonly roster: NodeRoster;
    },
  ) {
    this.#options = options;
    this.#watch = opened.watch;
    this.#news = opened.news;
    const { clock, intervals } = options;
    const { roster } = opened;
    const lens = new NodeLens({
      clock,
      intervals,
      watch: this.#watch,
      roster,
      reported: this.#reported,
    });
    this.roster = roster;
    roster.listen((change) => this.#stands(change));
    const keepTold = this.#keepTold.bind(this);
    this.#lens = lens;
    this.#teller = new HealthTeller({ lens, news: this.#news, clock, keepTold });
    this.keys = new NodeKeys({ ...opened, registrations: this.#registrations });
    for (const [id, record] of opened.records) {
      const told = this.#watch.isDuplicate(id) ? "telemetry_lost" : "unknown";
      this.#nodes.set(id, newNodeState(record, told));
      options.logger.info("node known from the store, not heard yet", { node: id, told });
    }
  }

  /** Raised at each change of any node. */
  get version(): number {
    return this.#version;
  }

  /** Raised at each change that the cluster document can show: inventory, slots, verdicts, GPU states and reasons. */
  get structureVersion(): number {
    return this.#structureVersion;
  }

  /** Whether the passing of time has changed what a node shows and the next {@link sweep} has yet to raise the versions. */
  get isDue(): boolean {
    return this.#nodes.entries().some(([id, node]) => this.#lens.liveness(id, node) !== node.told);
  }

  /**
   * Takes a node in, durable when it resolves, and ends the node's registration before it. `speaking`:
   * whom the key of the caller speaks for, asked when its turn comes; what it throws is passed on.
   */
  register(asked: CheckedRegistration, speaking: () => NodeSpeaker): Promise<RegisterOutcome> {
    return this.#serial.run(async () => {
      const speaker = speaking();
      const outcome = await this.#register(asked, speaker);
      if (outcome.kind === "registered") this.#news.admitted(asked.nodeId);
      else this.#news.refused(speaker.id, outcome);
      return outcome;
    });
  }

  /** The newest registration of a node when it has this id, undefined otherwise. */
  registration(id: string): Registration | undefined {
    return this.#registrations.find(id);
  }

  /** Counts a report stream as open until the function is called: no other process takes the node meanwhile. */
  streamOpened(registration: Registration): () => void {
    return this.#registrations.openStream(registration);
  }

  /** The agents that claimed to be one node at the same time; undefined for an unknown node. */
  duplicates(id: string): DuplicatesView | undefined {
    return this.#nodes.has(id) ? this.#watch.view(id) : undefined;
  }

  /**
   * An operator tells which agent is the node: it may register again, the others stay refused. Durable
   * when it resolves. Throws NOT_FOUND, PRECONDITION_FAILED or INVALID_ARGUMENT.
   */
  pick(id: string, request: PickRequest): Promise<void> {
    return this.#serial.run(async () => {
      const node = this.#nodes.get(id);
      if (node === undefined) throw unknownNode(id);
      await this.#watch.pick(id, request);
      // Whoever holds the node now may be the one that was not picked.
      this.#registrations.end(id, "an operator has picked the agent of the node");
      heardNode(node, this.#options.clock.nowMs() - this.#options.intervals.ttlMs - 1);
      this.#tellVerdict(id, node);
    });
  }

  /**
   * Forgets a node, durably when it resolves; to be repeated when it fails. Throws NOT_FOUND, and PRECONDITION_FAILED
   * while its agent is connected, unless forced. A node that the roster has as removed stays so.
   */
  remove(id: string, { force, forgetKey }: NodeRemoval): Promise<void> {
    return this.#serial.run(async () => {
      const connected = this.#registrations.isPresent(id);
      if (connected && !force) throw connectedNode(id);
      const stands = this.roster.get(id) !== undefined;
      if (!((await forgetKey()) || this.#nodes.has(id) || stands)) throw unknownNode(id);
      await this.#watch.forget(id);
      await this.#options.records.remove(id);
      this.#registrations.end(id, "the node was removed", "UNAUTHENTICATED");
      this.#nodes.delete(id);
      if (this.roster.get(id)?.state !== "removed") await this.roster.forget(id);
      this.#version += 1;
      this.#structureVersion += 1;
      this.#news.removed(id, { force, connected });
    });
  }

  /**
   * Takes a report of the newest registration in; one of an older registration changes nothing. Bad
   * fields and samples of unknown GPUs are dropped and logged once. Throws INVALID_ARGUMENT when a
   * new fingerprint does not fit the node.
   */
  async report(registration: Registration, report: NodeReport): Promise<void> {
    const { nodeId } = registration;
    const { fingerprint } = report;
    if (fingerprint !== undefined) {
      await this.#serial.run(() => this.#replaceInventory(registration, fingerprint));
    }
    const node = this.#nodes.get(nodeId);
    if (node === undefined || !this.#registrations.holds(registration)) return;
    const judged = this.#watch.reports(nodeId);
    if (this.#watch.isDuplicate(nodeId)) {
      this.#registrations.end(nodeId, TWO_AGENTS);
    } else {
      const atMs = this.#options.clock.nowMs();
      heardNode(node, atMs);
      this.#news.dropped(nodeId, node.problems, takeReport(node, report, atMs));
    }
    this.#tellVerdict(nodeId, node);
    this.#changed(node);
    this.#tellHealth(nodeId, node);
    await judged;
  }

  /**
   * Takes in all nodes that Kubernetes tells of now; to be repeated while that is known, as silence counts for those
   * without an agent. One that is expected and Ready joins, durably when it resolves; of nodes that nobody told of, or
   * that were removed, nothing is taken in.
   */
  takeReported(reported: readonly ReportedNode[]): Promise<void> {
    return this.#serial.run(async () => {
      const changed = this.#reported.replace(reported, this.#nodes.keys());
      for (const id of changed) this.#reportChanged(id);
      for (const node of reported) await this.#takeReported(node);
    });
  }

  /** What the ledger says of a node's GPUs from now on; nothing happens when it is what it said before. */
  setTaken(id: string, taken: TakenGpus): void {
    const node = this.#nodes.get(id);
    const same =
      node?.taken.size === taken.size &&
      taken.entries().every(([uuid, state]) => node.taken.get(uuid) === state);
    if (node === undefined || same) return;
    node.taken = taken;
    this.#changed(node);
    this.#structureVersion += 1;
  }

  /**
   * Looks for what has changed by the passing of time: nodes that are silent, GPUs that stay well. `stalledMs`: we could
   * not listen for so long until now.
   */
  sweep(stalledMs = 0): void {
    for (const [id, node] of this.#nodes) {
      if (node.told !== "telemetry_lost") this.#lens.excuse(node, stalledMs);
      this.#tellVerdict(id, node);
      if (node.watch.waits) this.#tellHealth(id, node);
    }
  }

  /** Every node that has ever registered, in id order, as it is now. */
  views(): NodeView[] {
    const nodes = [...this.#nodes].sort(([a], [b]) => (a < b ? -1 : 1));
    return nodes.map(([id, node]) => this.#lens.view(id, node));
  }

  /** One node, undefined when no node of that id has ever registered. */
  view(id: string): NodeView | undefined {
    const node = this.#nodes.get(id);
    return node && this.#lens.view(id, node);
  }

  async #register(asked: CheckedRegistration, speaker: NodeSpeaker): Promise<RegisterOutcome> {
    const { nodeId } = asked;
    const known = this.#nodes.get(nodeId);
    const isJoined = known !== undefined && !isReportedOnly(known.record);
    const place = isJoined
      ? { record: known.record, liveness: this.#lens.liveness(nodeId, known) }
      : undefined;
    const others = known === undefined ? this.#nodes.size : this.#nodes.size - 1;
    const refusal = speakerRefusal(speaker, asked) ?? placeRefusal(asked, place, others);
    if (refusal !== undefined) return refusal;
    const now = this.#options.clock.timestamp();
    const step = lifecycleStep({ nodeId, before: this.roster.get(nodeId), now }, { kind: "join" });
    if (step.kind === "refused") return step;
    const verdict = await this.#watch.asks(nodeId, {
      agent: askingInstance(asked, speaker),
      formerIds: asked.formerInstanceIds,
      isHolderPresent: this.#registrations.isPresent(nodeId),
    });
    if (verdict === "duplicate" && known !== undefined) {
      this.#registrations.end(nodeId, TWO_AGENTS);
      this.#tellVerdict(nodeId, known);
    }
    const duplicate = duplicateRefusal(nodeId, verdict);
    if (duplicate !== undefined) return duplicate;
    const record = registeredRecord(asked, known?.record, now);
    await this.#save(nodeId, known?.record, record);
    await this.roster.step(nodeId, { kind: "join" });
    const registration = this.#registrations.begin(nodeId);
    this.#admit(nodeId, record, known);
    return { kind: "registered", registration };
  }

  /** Takes the record of a registration over into memory, and tells what is new about the node. */
  #admit(id: string, record: NodeRecord, known: NodeState | undefined): void {
    const node = known ?? newNodeState(record, "live");
    const before = node.record;
    this.#nodes.set(id, node);
    heardNode(node, this.#options.clock.nowMs());
    node.problems.clear();
    this.#setRecord(node, record);
    this.#tellVerdict(id, node);
    const { bootId } = record.inventory;
    if (known === undefined || isReportedOnly(before)) this.#news.joined(id, record.inventory);
    else if (hasRebooted(before, record) && !this.#watch.isCandidateBoot(id, bootId)) {
      this.#news.rebooted(id, { bootId, formerBootId: before.inventory.bootId });
    }
  }

  #reportChanged(id: string): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    this.#changed(node);
    this.#structureVersion += 1;
  }

  /** The agent of a node knows better: of one that has joined only the word of Kubernetes on its use counts. */
  async #takeReported(reported: ReportedNode): Promise<void> {
    const { nodeId } = reported;
    const known = this.#nodes.get(nodeId);
    const isNew = known === undefined && this.roster.get(nodeId)?.state === "expected";
    if (isNew ? !reported.isReady : known === undefined || !isReportedOnly(known.record)) return;
    const now = this.#options.clock.timestamp();
    const record = reportedRecord(reported, known?.record, now);
    const isChanged = JSON.stringify(record) !== JSON.stringify(known?.record);
    await this.#save(nodeId, known?.record, record);
    if (isNew) await this.roster.step(nodeId, { kind: "join" });
    if (isChanged || known === undefined) {
      this.#admit(nodeId, record, known);
    } else {
      heardNode(known, this.#options.clock.nowMs());
      this.#tellVerdict(nodeId, known);
    }
  }

  async #replaceInventory(registration: Registration, inventory: NodeInventory): Promise<void> {
    const { nodeId } = registration;
    const node = this.#nodes.get(nodeId);
    if (node === undefined || !this.#registrations.holds(registration)) return;
    const record = changedRecord(node.record, inventory);
    await this.#save(nodeId, node.record, record);
    this.#setRecord(node, record);
  }

  #setRecord(node: NodeState, record: NodeRecord): void {
    adoptRecord(node, record);
    this.#changed(node);
    this.#structureVersion += 1;
  }

  async #save(id: string, before: NodeRecord | undefined, after: NodeRecord): Promise<void> {
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    await this.#options.records.save(id, after);
  }

  #tellVerdict(id: string, node: NodeState): void {
    const from = node.told;
    const to = this.#lens.liveness(id, node);
    const duplicate = this.#watch.isDuplicate(id);
    if (to === from && duplicate === node.toldDuplicate) return;
    Object.assign(node, { told: to, toldDuplicate: duplicate });
    this.#changed(node);
    this.#structureVersion += 1;
    if (to !== from) this.#news.verdict(id, { from, to, duplicate });
  }

  #stands({ nodeId, from, to }: LifecycleChange): void {
    const node = this.#nodes.get(nodeId);
    if (node !== undefined) this.#changed(node);
    this.#structureVersion += 1;
    if (from !== to) this.#news.stands(nodeId, { from, to });
  }

  #changed(node: NodeState): void {
    this.#version += 1;
    node.version = this.#version;
  }

  #tellHealth(id: string, node: NodeState): void {
    if (this.#teller.tell(id, node)) this.#structureVersion += 1;
  }

  /** At worst it is told again after a restart: a store that does not take it stops no report. */
  #keepTold(id: string, node: NodeState): void {
    const kept = this.#serial.run(async () => {
      // It may have been removed while this waited for its turn.
      if (this.#nodes.get(id) !== node) return;
      const record = toldRecord(node.record, node.watch.told);
      await this.#save(id, node.record, record);
      node.record = record;
    });
    kept.catch((err: unknown) => {
      this.#options.logger.error("what was told of a node's GPUs was not kept", { node: id, err });
    });
  }
}
