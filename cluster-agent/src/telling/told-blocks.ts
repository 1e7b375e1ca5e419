import type { BlockDocument, DeviceDocument, InstanceDocument } from "@berth/proto";
import type { BlockBook } from "../blocks/block-book.ts";
import type { ObservedFacts } from "../blocks/block-document.ts";
import { instanceBounds } from "../blocks/block-entry.ts";
import type { BlockRecord, InstanceRecord } from "../blocks/block-records.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { ToldBoard } from "./told-board.ts";

/** Longest text for people of one instance; a longer one is cut. */
const MAX_MESSAGE_CHARACTERS = 300;

/** What {@link ToldBlocks} looks at. */
export interface ToldBlocksDeps {
  readonly board: ToldBoard;
  readonly book: Pick<BlockBook, "blocks" | "instances" | "onChange">;
  readonly observed: {
    readonly version: number;
    readonly byId: ReadonlyMap<string, ObservedFacts>;
  };
  readonly ledger: Pick<Ledger, "hold">;
}

/** How an instance looks; another object only when it looks otherwise. */
interface Face {
  readonly record: InstanceRecord;
  readonly phase: string;
  readonly ready: boolean;
  readonly restarts: number;
  readonly message: string | undefined;
  readonly endpoint: string | undefined;
}

interface Told {
  readonly record: BlockRecord;
  readonly faces: readonly Face[];
}

const FACE_FIELDS = ["record", "phase", "ready", "restarts", "message", "endpoint"] as const;

/** Tells the blocks: a text is made of those only that look otherwise than before. */
export class ToldBlocks {
  readonly #deps: ToldBlocksDeps;
  readonly #told = new Map<string, Told>();
  /** Observations there were when an instance was first looked at. */
  readonly #since = new Map<string, number>();
  #isDirty = true;
  #version = -1;

  constructor(deps: ToldBlocksDeps, onDirty: () => void) {
    this.#deps = deps;
    deps.book.onChange(() => {
      this.#isDirty = true;
      onDirty();
    });
  }

  /** Puts on the board what has changed. */
  tell(): void {
    const { book, board, observed } = this.#deps;
    if (!this.#isDirty && observed.version === this.#version) return;
    this.#isDirty = false;
    this.#version = observed.version;
    const gone = new Set(this.#told.keys());
    const seen = new Set<string>();
    for (const record of book.blocks()) {
      gone.delete(record.id);
      const instances = book.instances(record.id);
      for (const { instanceId } of instances) seen.add(instanceId);
      this.#tellOne(record, instances);
    }
    for (const id of gone) {
      this.#told.delete(id);
      board.delete(`block/${id}`);
    }
    for (const id of this.#since.keys()) if (!seen.has(id)) this.#since.delete(id);
  }

  #tellOne(record: BlockRecord, instances: readonly InstanceRecord[]): void {
    const faces = instances.map((instance) => this.#faceOf(instance));
    const former = this.#told.get(record.id);
    if (former !== undefined && former.record === record && areSame(former.faces, faces)) return;
    this.#told.set(record.id, { record, faces });
    this.#deps.board.set(`block/${record.id}`, JSON.stringify(this.#document(record, faces)));
  }

  #faceOf(record: InstanceRecord): Face {
    const facts = this.#deps.observed.byId.get(record.instanceId);
    return {
      record,
      phase: this.#phaseOf(record, facts),
      ready: record.state === "wanted" && facts?.isReady === true,
      restarts: facts?.restarts ?? 0,
      message: facts?.message,
      endpoint: facts?.endpoints.control,
    };
  }

  /** One that was just written down is absent only when a whole observation later nothing is seen of it. */
  #phaseOf({ instanceId, state }: InstanceRecord, facts: ObservedFacts | undefined): string {
    if (state === "removing") return "terminating";
    if (facts !== undefined) {
      this.#since.delete(instanceId);
      return facts.phase;
    }
    const { version } = this.#deps.observed;
    const since = this.#since.get(instanceId) ?? version;
    this.#since.set(instanceId, since);
    return version > since + 1 ? "absent" : "pending";
  }

  #document(record: BlockRecord, faces: readonly Face[]): BlockDocument {
    const { entry, id, phase, createdAt, updatedAt } = record;
    const { minInstances, maxInstances } = instanceBounds(entry);
    return {
      ...{ block_id: id, phase, component_uri: entry.componentUri ?? "" },
      ...(minInstances === undefined ? {} : { min_instances: minInstances }),
      ...(maxInstances === undefined ? {} : { max_instances: maxInstances }),
      instances: faces.map((face) => this.#instance(face)),
      ...{ created_at: createdAt, updated_at: updatedAt },
    };
  }

  #instance({ record, phase, ready, restarts, message, endpoint }: Face): InstanceDocument {
    const { instanceId, nodeId, allocationId } = record;
    return {
      ...{ instance_id: instanceId, node_id: nodeId, gpus: this.#gpusOf(record) },
      ...{ phase, ready, restarts },
      ...(message === undefined ? {} : { message: message.slice(0, MAX_MESSAGE_CHARACTERS) }),
      ...(endpoint === undefined ? {} : { endpoint }),
      allocation_id: allocationId,
    };
  }

  /** The record says how much of each device was assigned, the ledger whether that is the whole. */
  #gpusOf({ allocationId, devices }: InstanceRecord): readonly DeviceDocument[] {
    const claimed = this.#deps.ledger.hold(allocationId)?.claim.devices ?? [];
    const shares = new Map(claimed.map(({ uuid, memoryMiB }) => [uuid, memoryMiB]));
    return devices.map(({ uuid }) => {
      const memory = shares.get(uuid);
      return memory === undefined ? { uuid } : { uuid, memory };
    });
  }
}

function areSame(former: readonly Face[], now: readonly Face[]): boolean {
  if (former.length !== now.length) return false;
  return now.every((face, place) => {
    const other = former[place];
    return other !== undefined && FACE_FIELDS.every((field) => face[field] === other[field]);
  });
}
