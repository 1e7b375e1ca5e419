import { createSandbox, PolicyContexts } from "@berth/policy-sandbox";
import { STATE_DIR } from "@berth/policy-sandbox/testing/state-dir";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { Assumptions } from "../allocation/assumptions.ts";
import type { DecisionRecord } from "../allocation/decisions/decision-record.ts";
import { ResidentCatalog } from "../allocation/resident-catalog.ts";
import { openPlacing, type Placing } from "../compose/compose-placement.ts";
import { type OrgBooks, openOrgBooks } from "../org/org-books.ts";
import { type PlacementRecord, placementDocument } from "../placement/placement-record.ts";
import { PolicyRegistry } from "../policies/policy-registry.ts";
import { ModelFleet } from "./model-fleet.ts";

/** Org of everything that a {@link PlacementHarness} holds. */
export const ORG = "default_org";
/** Who asks. */
export const principal = { orgId: ORG, role: "admin" } as const;

const CAPS = { wallMs: 30_000, cpuMs: 20_000, memoryMiB: 256 };

/** The gateway for blocks over a store and clusters in memory; what it is made of outlives its restarts. */
export class PlacementHarness {
  readonly fleet: ModelFleet;
  readonly decisions: DecisionRecord[] = [];
  readonly policies: PolicyRegistry;
  readonly #store = openSqliteDocumentStore(":memory:", systemClock);
  readonly #sandbox;
  readonly #contexts;
  #placing: Placing | undefined;
  readonly #lostAfterMs: number;
  /** Of the gateway that was started last. */
  books: OrgBooks | undefined;

  constructor(
    clusters: Readonly<Record<string, { readonly nodes: number; readonly gpus: number }>>,
    { lostAfterMs = 60_000 }: { readonly lostAfterMs?: number } = {},
  ) {
    this.fleet = new ModelFleet(clusters);
    this.#lostAfterMs = lostAfterMs;
    this.#sandbox = createSandbox({ stateDir: STATE_DIR });
    this.#contexts = new PolicyContexts({ store: this.#store, logger: silentLogger });
    this.policies = new PolicyRegistry({
      ...{ store: this.#store, sandbox: this.#sandbox, contexts: this.#contexts },
    });
  }

  /** The gateway that was started last. */
  get placing(): Placing {
    if (this.#placing === undefined) throw new Error("start it first");
    return this.#placing;
  }

  /** Starts a gateway over what is there, as after `kill -9`: the one before takes no further step. */
  async start(wrap: (store: DocumentStore) => DocumentStore = (store) => store): Promise<Placing> {
    void this.#placing?.placements.stop();
    void this.#placing?.homes.stop();
    const store = wrap(this.#store);
    const common = { store, orgId: ORG, logger: silentLogger };
    this.books = await openOrgBooks({ ...common, clock: systemClock });
    const placing = await openPlacing({
      ...{ ...common, books: this.books },
      fleet: { agentApi: this.fleet, blocks: this.fleet.blocks },
      choosing: {
        clusters: this.fleet,
        assumptions: new Assumptions(systemClock),
        policies: this.policies,
        contexts: this.#contexts,
        sandbox: this.#sandbox,
        caps: CAPS,
        residents: new ResidentCatalog(),
      },
      decisions: { record: (_orgId, record) => void this.decisions.push(record) },
      lostAfterMs: this.#lostAfterMs,
    });
    this.#placing = placing;
    await placing.homes.start();
    await placing.placements.start();
    return placing;
  }

  /** Asks for a block, and gives the placement as clients read it. */
  async place(body: object, signal = new AbortController().signal): Promise<Placed> {
    const record = await this.placing.placements.place(principal, { ...body }, signal);
    return { ...placementDocument(record), record };
  }

  /** The placement of a block, whoever asked for it. */
  placementOf(blockId: string): PlacementRecord | undefined {
    return this.placing.placements.list({ blockId, limit: 1 })[0];
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await this.#placing?.placements.stop();
    await this.#placing?.homes.stop();
    await this.#sandbox.close();
    await this.#store.close();
  }
}

/** A placement as clients read it, and as it is kept. */
export interface Placed extends Record<string, unknown> {
  readonly record: PlacementRecord;
}

/** An entry of a block with so many GPUs for each of its instances. */
export function anEntry(id: string, gpus = 1, minInstances = 1): object {
  return { id, minInstances, resources: { gpus } };
}
