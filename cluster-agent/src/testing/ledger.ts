import {
  type ApplyOutcome,
  BerthError,
  type DocumentKey,
  type DocumentStore,
  type ListPage,
  openSqliteDocumentStore,
  type StoredDocument,
  silentLogger,
  type Write,
} from "@berth/service-kit";
import type { TakeRequest } from "../ledger/allocation-desk.ts";
import type { BootClock } from "../ledger/boot-clock.ts";
import type { Claim, DeviceClaim, GpuCapacity, NodeCapacity } from "../ledger/claim.ts";
import type { LeaseRequest } from "../ledger/lease-desk.ts";
import { type Ledger, type LedgerOptions, openLedger } from "../ledger/ledger.ts";
import { HandClock } from "./fixtures.ts";

/** GPU memory of the tests' GPUs, MiB. */
export const GPU_MIB = 80;

/** A GPU of 80 MiB, whole; `parts` cuts it up by MIG. */
export function gpuCapacity(
  uuid: string,
  slot: number,
  options: Partial<GpuCapacity> & { readonly parts?: readonly string[] } = {},
): GpuCapacity {
  const { parts = [], ...rest } = options;
  const migDevices = parts.map((part) => ({ uuid: part, memoryMiB: GPU_MIB / 2 }));
  const migEnabled = parts.length > 0;
  return { uuid, slot, memoryMiB: GPU_MIB, migEnabled, migDevices, ...rest };
}

/** A node of four GPUs, "<id>-g0" to "<id>-g3", the last one cut into "<id>-m0" and "<id>-m1". */
export function nodeCapacity(nodeId: string, options: Partial<NodeCapacity> = {}): NodeCapacity {
  const gpus = [0, 1, 2].map((slot) => gpuCapacity(`${nodeId}-g${slot}`, slot));
  const cut = gpuCapacity(`${nodeId}-g3`, 3, { parts: [`${nodeId}-m0`, `${nodeId}-m1`] });
  const amounts = { cpuMillis: 16_000, memoryMiB: 64_000, storageMiB: 100_000 };
  return { nodeId, gpus: [...gpus, cut], ...amounts, ...options };
}

/** A claim of devices by UUID, whole or with the memory that is asked for. */
export function claimOf(
  nodeId: string,
  devices: readonly (string | DeviceClaim)[] = [],
  amounts: Partial<Pick<Claim, "cpuMillis" | "memoryMiB" | "storageMiB">> = {},
): Claim {
  return {
    nodeId,
    devices: devices.map((device) => (typeof device === "string" ? { uuid: device } : device)),
    cpuMillis: 100,
    memoryMiB: 10,
    storageMiB: 1,
    ...amounts,
  };
}

/** What an allocation stands for: instance "i-<id>" of block b. */
export function purposeOf(id: string) {
  return { blockId: "b", instanceId: `i-${id}`, operationId: `op-${id}` };
}

/** A boot clock that tests move by hand. */
export class HandBootClock implements BootClock {
  bootId = "boot-1";
  #nowMs = 50_000;

  nowMs(): number {
    return this.#nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }

  reboot(bootId: string): void {
    this.bootId = bootId;
    this.#nowMs = 0;
  }
}

/** What becomes of a write: `before`: it fails and is not made; `after`: it is made and fails all the same. */
export type WriteFault = "none" | "before" | "after";

/** A store whose writes fail as a test says; everything else goes to the store behind it. */
export class UnreliableStore implements DocumentStore {
  /** Asked at each write. */
  fault: () => WriteFault = () => "none";
  /** Single documents cannot be read. */
  isUnreadable = false;
  /** Writes wait for it. */
  gate: Promise<void> | undefined;
  readonly #behind: DocumentStore;

  constructor(behind: DocumentStore) {
    this.#behind = behind;
  }

  storeId(): Promise<string> {
    return this.#behind.storeId();
  }

  async get<T>(key: DocumentKey): Promise<StoredDocument<T> | undefined> {
    if (this.isUnreadable) throw new BerthError("UNAVAILABLE", "disk I/O error");
    return this.#behind.get<T>(key);
  }

  list<T>(
    collection: Omit<DocumentKey, "id">,
    page?: ListPage,
  ): Promise<readonly StoredDocument<T>[]> {
    return this.#behind.list<T>(collection, page);
  }

  async apply(writes: readonly Write[]): Promise<ApplyOutcome> {
    const fault = this.fault();
    const { gate } = this;
    if (fault === "before") throw new BerthError("UNAVAILABLE", "the disk is full");
    if (gate !== undefined) await gate;
    const outcome = await this.#behind.apply(writes);
    if (fault === "after") throw new BerthError("UNAVAILABLE", "the disk did not answer");
    return outcome;
  }

  renewStoreId(writes: readonly Write[]): ReturnType<DocumentStore["renewStoreId"]> {
    return this.#behind.renewStoreId(writes);
  }

  raise(counter: string): Promise<number> {
    return this.#behind.raise(counter);
  }

  sizeBytes(): Promise<number> {
    return this.#behind.sizeBytes();
  }

  close(): Promise<void> {
    return this.#behind.close();
  }
}

/** A ledger of nodes n1, n2 and n3 on a store in memory, or as `given`, with clocks that are moved by hand. */
export async function testLedger(given: Partial<LedgerOptions> = {}) {
  const clock = new HandClock();
  const bootClock = new HandBootClock();
  const nodes = new Map(["n1", "n2", "n3"].map((id) => [id, nodeCapacity(id)]));
  const behind = given.store ?? openSqliteDocumentStore(":memory:", clock);
  const store = new UnreliableStore(behind);
  const options: LedgerOptions = {
    orgId: "o",
    clock,
    bootClock,
    logger: silentLogger,
    capacity: (nodeId) => nodes.get(nodeId),
    ...given,
    store,
  };
  const open = (): Promise<Ledger> => openLedger(options);
  const ledger = await open();
  return { ledger, open, store, behind, nodes, bootClock, clock };
}

/** A request for an allocation. */
export const asking = (allocationId: string, claim: Claim, more: Partial<TakeRequest> = {}) => ({
  allocationId,
  claim,
  purpose: purposeOf(allocationId),
  ...more,
});
/** Takes devices of n1. */
export const take = (ledger: Ledger, id: string, ...devices: string[]) =>
  ledger.take([asking(id, claimOf("n1", devices))]);
/** A request for a lease of 5 s of subject s. */
export const leasing = (leaseId: string, claim: Claim, more: Partial<LeaseRequest> = {}) => ({
  leaseId,
  claim,
  subject: "s",
  ttlMs: 5_000,
  storeId: "",
  ...more,
});
/** An allocation of n1 that was seen running. */
export const running = (id: string, ...uuids: string[]) => ({
  allocationId: id,
  nodeId: "n1",
  devices: uuids.map((uuid) => ({ uuid })),
  cpuMillis: 100,
  memoryMiB: 10,
  storageMiB: 1,
  ...purposeOf(id),
});
