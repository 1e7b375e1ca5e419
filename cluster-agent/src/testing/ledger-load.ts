// A program for benchmarks: an agent whose nodes have idle GPUs, and as many callers at once as told, each of whom has a place
// chosen by best fit, leases it and turns the lease into an allocation. Its options are JSON in its first argument; prints
// {"seconds", "taken", "refused", "doubles", "leases"} and ends.

import { randomUUID } from "node:crypto";
import { loadConfig, silentLogger, startAll, stopAll, systemClock } from "@berth/service-kit";
import { blockRecord } from "../blocks/block-records.ts";
import { composeClusterAgent } from "../compose.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { settings } from "../settings.ts";
import { entryOf } from "./block-fixtures.ts";
import { until } from "./fixtures.ts";
import { joinNodes } from "./join-nodes.ts";

/** What the process is started with. */
export interface LedgerLoadOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly nodes: number;
  readonly gpusPerNode: number;
  readonly callers: number;
}

const LEASE_MS = 60_000;
const GPU_MIB = 81_920;
/** Four callers share a GPU. */
const SHARE_MIB = GPU_MIB / 4;

const options = JSON.parse(process.argv[2] ?? "") as LedgerLoadOptions;
const about = { phase: "creating", operationId: "", createdAt: "", updatedAt: "" } as const;
const entry = entryOf("blk-load", { resources: { gpus: 1, gpuMemoryMiB: SHARE_MIB } });
const block = blockRecord(entry, about);

const loaded = loadConfig(settings, options.env);
if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
const agent = await composeClusterAgent({
  ...{ config: loaded.config, clock: systemClock, logger: silentLogger, process },
});
await startAll(agent.parts, silentLogger);
await joinNodes(agent, options);
const { blocks } = agent;
if (blocks === undefined) throw new Error("the agent runs no blocks");
const { ledger, placer } = blocks;
await until("the ledger to open", () => ledger.status.state === "open", 60_000);

async function call(caller: number): Promise<boolean> {
  const group = placer.pending.begin();
  const leaseId = `lease-${caller}`;
  try {
    const placement = placer.place({ block, besides: [], excluded: new Set(), group });
    if (placement.kind === "unschedulable") return false;
    const { claim } = placement;
    const subject = `subject-${caller}`;
    const leased = await ledger.lease({ leaseId, claim, subject, ttlMs: LEASE_MS, storeId: "" });
    if (leased.kind === "refused") return false;
    const purpose = { blockId: block.id, instanceId: `in-${caller}`, operationId: "op" };
    const lease = { leaseId, subject };
    const taken = await ledger.take([{ allocationId: randomUUID(), claim, purpose, lease }]);
    return taken.kind === "taken";
  } finally {
    group.end();
  }
}

/** Devices of which more is given out than there is. */
function doubles({ holds }: Pick<Ledger, "holds">): number {
  const takenMiB = new Map<string, number>();
  for (const { claim } of holds()) {
    for (const { uuid, memoryMiB = GPU_MIB } of claim.devices) {
      takenMiB.set(uuid, (takenMiB.get(uuid) ?? 0) + memoryMiB);
    }
  }
  return [...takenMiB.values()].filter((mib) => mib > GPU_MIB).length;
}

const begunAtMs = performance.now();
const results = await Promise.all(Array.from({ length: options.callers }, (_, at) => call(at)));
const seconds = (performance.now() - begunAtMs) / 1_000;
const taken = results.filter(Boolean).length;
const told = { seconds, taken, refused: results.length - taken, leases: ledger.leases().length };
const twice = doubles({ holds: () => ledger.holds() });
process.stdout.write(`${JSON.stringify({ ...told, doubles: twice })}\n`);
await stopAll(agent.parts, silentLogger);
process.exit(0);
