import type { ClusterDocument, Entry } from "@berth/proto";
import { BerthError, withMember } from "@berth/service-kit";
import {
  CLUSTER_KEY,
  checkKey,
  MAX_NODES,
  MAX_STATE_KEYS,
  METRICS_KEY,
  NODE_KEY_PREFIX,
  type ParsedEntry,
  parseEntry,
  stateDigest,
} from "./agent-entries.ts";
import { agentView, type ToldAggregate, type ToldNode } from "./agent-view.ts";
import { type BlockEntry, ClusterBlockState } from "./cluster-block-state.ts";
import type { ClusterHealth, ClusterView } from "./cluster-view.ts";

/** Most that is kept of one cluster: 10,000 nodes of eight GPUs fit. */
const MAX_CLUSTER_CHARACTERS = 64 * 1024 * 1024;

type CheckedEntry = ParsedEntry | Entry;
type BlocksEntry = Extract<ParsedEntry, { readonly kind: "blocks" }>;
type OwnEntry = Exclude<ParsedEntry, BlocksEntry>;

/** Who hears of a cluster's changes. */
export interface ClusterListeners {
  /** The view has changed. */
  readonly onChange: () => void;
  /** What is told of its blocks has changed, or whether it is live. */
  readonly onBlocksChange: () => void;
}

const NOBODY: ClusterListeners = { onChange: () => undefined, onBlocksChange: () => undefined };

interface Held {
  readonly revision: bigint;
  readonly json: string;
}

interface HeldDocument extends Held {
  readonly document: ClusterDocument;
}

type HeldMetrics = Held & ToldAggregate;
type HeldNode = Held & ToldNode;

/** The text of a document with the cluster's health as its status, as long as both stay. */
interface Restated {
  readonly held: HeldDocument;
  readonly json: string;
}

/**
 * The newest state and telemetry of one cluster with an agent, kept over the agent's reconnects, and
 * the view made from it. Pure state: no I/O, and the time is told.
 */
export class AgentCluster {
  readonly id: string;
  readonly orgId: string;
  /** What the agent told of its blocks; not part of the view. */
  readonly blocks = new ClusterBlockState();
  #health: ClusterHealth = "unreachable";
  #document: HeldDocument | undefined;
  #isLate = false;
  #metrics: HeldMetrics | undefined;
  readonly #nodes = new Map<string, HeldNode>();
  /** Ids of the nodes in their order, as long as there are the same. */
  #nodeIds: readonly string[] | undefined;
  #heardAtMs = 0;
  #reportedAtMs: number | null = null;
  #restated: Restated | undefined;
  readonly #listeners: ClusterListeners;
  /** Characters of all that is held, so that a message is checked without looking at every node. */
  #characters = 0;
  #revision = 0;
  #view: ClusterView | undefined;

  constructor(orgId: string, id: string, listeners: ClusterListeners = NOBODY) {
    this.orgId = orgId;
    this.id = id;
    this.#listeners = listeners;
  }

  /** What is known of the agent. */
  get health(): ClusterHealth {
    return this.#health;
  }

  /** Digest of the acknowledged state, to compare with an agent's. */
  get stateDigest(): string {
    const held = this.#document;
    const revisions = new Map(this.blocks.revisions());
    if (held !== undefined) revisions.set(CLUSTER_KEY, held.revision);
    return stateDigest(revisions);
  }

  /** A message of the agent has come, which is taken in next. Monotonic, ms. */
  heard(atMs: number): void {
    this.#heardAtMs = atMs;
  }

  /** Whether the agent's last turn to send a snapshot was taken back, and none has come since. */
  get isLate(): boolean {
    return this.#isLate;
  }

  /** The agent's turn to send a snapshot was taken back. */
  tookTooLong(): void {
    this.#isLate = true;
  }

  /**
   * Takes in entries of either stream; older revisions than the held ones change nothing. All entries
   * are checked first: a message with a bad one changes nothing.
   */
  apply(entries: readonly Entry[]): void {
    this.#take(this.#check(entries, false));
  }

  /** Replaces the acknowledged state by a whole snapshot, which is checked first. */
  replaceState(entries: readonly Entry[]): void {
    const checked = this.#check(entries, true);
    this.#isLate = false;
    this.#characters -= lengthOf(this.#document);
    this.#document = undefined;
    this.blocks.clear();
    this.#take(checked);
    this.#changed();
    this.#listeners.onBlocksChange();
  }

  /** Forgets everything: the agent begins anew with lower revisions. */
  forget(): void {
    this.#document = undefined;
    this.#restated = undefined;
    this.#metrics = undefined;
    this.#nodes.clear();
    this.#nodeIds = undefined;
    this.#reportedAtMs = null;
    this.#characters = 0;
    this.blocks.clear();
    this.#changed();
    this.#listeners.onBlocksChange();
  }

  /** Forgets telemetry of nodes whose keys the first report of a new stream did not carry. */
  keepOnly(carried: ReadonlySet<string>): void {
    const gone = [...this.#nodes.keys()].filter((id) => !carried.has(`${NODE_KEY_PREFIX}${id}`));
    for (const nodeId of gone) this.#dropNode(nodeId);
    if (gone.length > 0) this.#changed();
  }

  /** Sets what is known of the agent; gives whether it is a change. */
  setHealth(health: ClusterHealth): boolean {
    if (this.#health === health) return false;
    this.#health = health;
    this.#restated = undefined;
    this.#changed();
    this.#listeners.onBlocksChange();
    return true;
  }

  /** The view, or undefined before the agent's first cluster document. */
  get view(): ClusterView | undefined {
    if (this.#document === undefined) return undefined;
    this.#view ??= this.#buildView(this.#document);
    return this.#view;
  }

  #check(entries: readonly Entry[], whole: boolean): readonly CheckedEntry[] {
    if (entries.length > MAX_STATE_KEYS) {
      throw new BerthError("INVALID_ARGUMENT", `entries: expected at most ${MAX_STATE_KEYS}`);
    }
    const checked = entries.map((entry, index) => {
      checkKey(entry.key, index);
      return entry.deleted ? entry : parseEntry(entry, this.id);
    });
    this.blocks.check(
      checked.filter(isOfBlocks).map((entry) => this.#blockEntry(entry)),
      whole,
    );
    this.#checkSize(checked);
    return checked;
  }

  #checkSize(checked: readonly CheckedEntry[]): void {
    let characters = this.#characters;
    const sizes = new Map<string, number>();
    let newNodes = 0;
    for (const entry of checked) {
      if ("deleted" in entry || isOfBlocks(entry)) continue;
      const key = entry.kind === "node" ? NODE_KEY_PREFIX + entry.nodeId : entry.kind;
      const before = sizes.get(key) ?? lengthOf(this.#held(entry));
      if (entry.kind === "node" && !sizes.has(key) && !this.#nodes.has(entry.nodeId)) newNodes += 1;
      characters += entry.json.length - before;
      sizes.set(key, entry.json.length);
    }
    if (this.#nodes.size + newNodes > MAX_NODES) {
      throw new BerthError("INVALID_ARGUMENT", `entries: a cluster has at most ${MAX_NODES} nodes`);
    }
    if (characters > MAX_CLUSTER_CHARACTERS) {
      const message = `entries: a cluster's documents hold at most ${MAX_CLUSTER_CHARACTERS} characters`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
  }

  #take(checked: readonly CheckedEntry[]): void {
    let isChanged = false;
    let areBlocksChanged = false;
    for (const entry of checked) {
      if (isOfBlocks(entry)) {
        areBlocksChanged = this.blocks.take(this.#blockEntry(entry)) || areBlocksChanged;
      } else if ("deleted" in entry) {
        areBlocksChanged = this.blocks.delete(entry.key, entry.revision) || areBlocksChanged;
        isChanged = this.#delete(entry) || isChanged;
      } else if (isNewer(entry.revision, this.#held(entry))) {
        this.#characters += entry.json.length - lengthOf(this.#held(entry));
        this.#hold(entry);
        isChanged = true;
      }
    }
    // A report without news says only that the agent is there: caches of the view stay good.
    if (isChanged) this.#changed();
    if (areBlocksChanged) this.#listeners.onBlocksChange();
  }

  #blockEntry({ key, revision, json, ageMs, value }: BlocksEntry): BlockEntry {
    return { key, revision, characters: json.length, atMs: this.#heardAtMs - ageMs, value };
  }

  #held(entry: OwnEntry): Held | undefined {
    if (entry.kind === "cluster") return this.#document;
    return entry.kind === "metrics" ? this.#metrics : this.#nodes.get(entry.nodeId);
  }

  #hold(entry: OwnEntry): void {
    if (entry.kind !== "cluster") {
      const measuredAtMs = this.#heardAtMs - entry.ageMs;
      this.#reportedAtMs = Math.max(this.#reportedAtMs ?? measuredAtMs, measuredAtMs);
    }
    if (entry.kind === "cluster") this.#document = entry;
    else if (entry.kind === "metrics") this.#metrics = entry;
    else this.#holdNode(entry);
  }

  #holdNode({ nodeId, revision, json, metrics }: ParsedEntry & { readonly kind: "node" }): void {
    if (!this.#nodes.has(nodeId)) this.#nodeIds = undefined;
    this.#nodes.set(nodeId, { revision, json, metrics, atMs: this.#heardAtMs });
  }

  #buildView(held: HeldDocument): ClusterView {
    const health = this.#health;
    const isLive = health === "live";
    const view = {
      id: this.id,
      orgId: this.orgId,
      health,
      document: isLive ? held.document : { ...held.document, status: health },
      documentJson: isLive ? held.json : this.#textWith(held, health),
      reportedAtMs: this.#reportedAtMs,
      revision: this.#revision,
    };
    return agentView(view, this.#nodesInOrder(), this.#metrics);
  }

  #nodesInOrder(): readonly HeldNode[] {
    this.#nodeIds ??= [...this.#nodes.keys()].sort();
    return this.#nodeIds.map((id) => this.#nodes.get(id)).filter((node) => node !== undefined);
  }

  /** The document's text with the health as its status; made once, however often telemetry comes. */
  #textWith(held: HeldDocument, health: ClusterHealth): string {
    if (this.#restated?.held !== held) {
      this.#restated = { held, json: withMember(held.json, "status", JSON.stringify(health)) };
    }
    return this.#restated.json;
  }

  /** Gives whether something went. */
  #delete({ key, revision }: Entry): boolean {
    if (key === METRICS_KEY && this.#metrics !== undefined && isNewer(revision, this.#metrics)) {
      this.#characters -= lengthOf(this.#metrics);
      this.#metrics = undefined;
      return true;
    }
    if (!key.startsWith(NODE_KEY_PREFIX)) return false;
    const nodeId = key.slice(NODE_KEY_PREFIX.length);
    const held = this.#nodes.get(nodeId);
    if (held === undefined || !isNewer(revision, held)) return false;
    this.#dropNode(nodeId);
    return true;
  }

  #dropNode(nodeId: string): void {
    this.#characters -= lengthOf(this.#nodes.get(nodeId));
    this.#nodes.delete(nodeId);
    this.#nodeIds = undefined;
  }

  #changed(): void {
    this.#revision += 1;
    this.#view = undefined;
    this.#listeners.onChange();
  }
}

function isOfBlocks(entry: CheckedEntry): entry is BlocksEntry {
  return "kind" in entry && entry.kind === "blocks";
}

function lengthOf(held: Held | undefined): number {
  return held?.json.length ?? 0;
}

function isNewer(revision: bigint, held: Held | undefined): boolean {
  return held === undefined || revision > held.revision;
}
