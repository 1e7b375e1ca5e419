import type { PolicyCaps } from "@berth/policy-sandbox";
import { type Config, type DocumentStore, type Logger, systemClock } from "@berth/service-kit";
import { Allocator, type AllocatorDeps } from "../allocation/allocator.ts";
import { CandidateFinder } from "../allocation/candidate-finder.ts";
import type { DecisionLog } from "../allocation/decisions/decision-log.ts";
import { type HoldCharging, Holder } from "../allocation/holder.ts";
import { ResidentCatalog } from "../allocation/resident-catalog.ts";
import { BlockCharges } from "../org/charges/block-charges.ts";
import type { OrgBooks } from "../org/org-books.ts";
import { BlockGateway } from "../placement/block-gateway.ts";
import { BlockHomes } from "../placement/block-homes.ts";
import { BlockModeAnswers } from "../placement/block-mode.ts";
import { ClusterScout } from "../placement/cluster-scout.ts";
import { openPlacementBook } from "../placement/placement-book.ts";
import { PlacementRunner } from "../placement/placement-runner.ts";
import { Placements } from "../placement/placements.ts";
import type { settings } from "../settings.ts";
import type { Fleet } from "./compose-fleet.ts";

/** What decisions are made with. */
export interface DecidingParts {
  readonly config: Config<typeof settings>;
  readonly store: DocumentStore;
  readonly logger: Logger;
  readonly fleet: Pick<Fleet, "agentApi" | "blocks">;
  /** Charges what is held to the quotas of the org. */
  readonly holds: HoldCharging;
  readonly books: OrgBooks;
  readonly choosing: Pick<
    AllocatorDeps,
    "clusters" | "assumptions" | "policies" | "contexts" | "sandbox"
  >;
  /** Keeps the records of allocations, and of placements of blocks. */
  readonly allocations: Pick<DecisionLog, "record">;
  readonly decisions: Pick<DecisionLog, "record">;
}

/** The caps that the settings put on policies. */
export function capsOf(config: Config<typeof settings>): PolicyCaps {
  const { policyWallMs: wallMs, policyCpuMs: cpuMs, policyMemoryMiB: memoryMiB } = config;
  return { wallMs, cpuMs, memoryMiB };
}

/** Opens the allocator, and the gateway for blocks, which chooses among clusters as the allocator does. */
export async function openDeciding({
  config,
  allocations,
  ...parts
}: DecidingParts): Promise<Placing & { readonly allocator: Allocator }> {
  const { assumeSeconds, orgId } = config;
  const caps = capsOf(config);
  const choosing = { ...parts.choosing, caps, residents: new ResidentCatalog() };
  const holder = new Holder(parts.fleet.agentApi, parts.holds);
  const allocator = new Allocator({ ...choosing, assumeSeconds, holder, decisions: allocations });
  return { allocator, ...(await openPlacing({ ...parts, choosing, orgId })) };
}

/** What the gateway for blocks is made of. */
export interface PlacementParts {
  readonly store: DocumentStore;
  readonly books: OrgBooks;
  readonly orgId: string;
  readonly logger: Logger;
  readonly fleet: Pick<Fleet, "agentApi" | "blocks">;
  /** How candidates are found and policies run: as the allocator does. */
  readonly choosing: Pick<
    AllocatorDeps,
    "clusters" | "assumptions" | "policies" | "contexts" | "sandbox" | "caps" | "residents"
  >;
  readonly decisions: Pick<DecisionLog, "record">;
  /** Time for which a cluster that may hold something of a block is waited for, ms; tests' own. */
  readonly lostAfterMs?: number | undefined;
}

/** What places blocks and reaches them. */
export interface Placing {
  readonly homes: BlockHomes;
  readonly charges: BlockCharges;
  readonly placements: Placements;
  readonly gateway: BlockGateway;
  readonly blockMode: BlockModeAnswers;
}

/** Opens the gateway for blocks, with the placements that the store knows; they go on when its part is started. */
export async function openPlacing(parts: PlacementParts): Promise<Placing> {
  const { store, orgId, logger, choosing, decisions, lostAfterMs } = parts;
  const { agentApi: agents, blocks } = parts.fleet;
  const finder = new CandidateFinder(choosing);
  const scout = new ClusterScout({ ...choosing, finder, agents, blocks });
  const book = await openPlacementBook(store, orgId);
  const isUnderway = (blockId: string) => book.openOf(blockId) !== undefined;
  const homes = new BlockHomes({ store, orgId, blocks, isUnderway, logger });
  await homes.load();
  const charges = new BlockCharges({
    ...{ books: parts.books, blocks, isUnderway, clock: systemClock, logger },
    unheard: (blockId) => homes.unheard(blockId),
  });
  const shared = { agents, blocks, book, homes, charges, clock: systemClock, logger, orgId };
  const principal = { orgId, role: "admin" } as const;
  const runner = new PlacementRunner({ ...shared, scout, principal, lostAfterMs });
  const { policies } = choosing;
  return {
    ...{ homes, charges },
    placements: new Placements({ ...shared, runner, policies, decisions }),
    gateway: new BlockGateway({ agents, blocks, homes, charges }),
    blockMode: new BlockModeAnswers({ finder, scout, choosing }),
  };
}
