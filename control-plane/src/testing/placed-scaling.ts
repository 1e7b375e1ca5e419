import {
  type Bus,
  type DocumentStore,
  openBus,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { expect } from "vitest";
import { openPlacer } from "../autoscaler/scaling/placer.ts";
import type { ReplicaPlace } from "../autoscaler/scaling/replica-place.ts";
import { ReplicaPlaces } from "../autoscaler/scaling/replica-places.ts";
import { openVictims } from "../autoscaler/scaling/victims.ts";
import { AllocatorHarness, ORG } from "./allocator-harness.ts";
import { ModelFleet } from "./model-fleet.ts";
import { openScaling, type TestScaling } from "./scaling-fixture.ts";

/** Flavor of all GPUs. */
export const FLAVOR = "NVIDIA T4";

const POLICIES = {
  /** The first free GPU there is, or so many as the parameters say. */
  free: `for cluster_id, entry in input_data["cluster_data"].items():
    for node in entry["data"]["nodes"]["nodeData"]:
        free = [gpu["id"] for gpu in node["gpus"]["gpus"] if gpu["state"] == "free"]
        if len(free) >= parameters.get("gpus", 1):
            return {"cluster_id": cluster_id, "node_id": node["id"], "gpus": free[:parameters.get("gpus", 1)]}
return {"cluster_id": None, "reasons": ["all are taken"]}`,
  bad: 'raise ValueError("no idea")',
  two: 'return [{"cluster_id": "m", "node_id": "m-node-0", "gpus": [str(i)]} for i in range(2)]',
  oldest: 'return [one["id"] for one in input_data["replicas"]][:input_data["count"]]',
};

/** An org whose replicas are placed by policies on two clusters of four GPUs in memory, "m" and "other". */
export class PlacedScaling {
  readonly #harness = new AllocatorHarness();
  readonly #uris = new Map<string, string>();
  readonly #ends: (() => Promise<void>)[] = [];
  fleet = new ModelFleet({});
  #store: DocumentStore | undefined;
  #scaling: TestScaling | undefined;

  /** Resolves when policies can run. */
  async ready(): Promise<void> {
    await this.#harness.ready();
    for (const [name, body] of Object.entries(POLICIES)) {
      this.#uris.set(name, await this.#harness.publish(name, body));
    }
  }

  /** Ends everything. */
  close(): Promise<void> {
    return this.#harness.close();
  }

  /** The org that was opened last. */
  get scaling(): TestScaling {
    if (this.#scaling === undefined) throw new Error("no org is open");
    return this.#scaling;
  }

  /** What everything is kept in. */
  get store(): DocumentStore {
    if (this.#store === undefined) throw new Error("no test has begun");
    return this.#store;
  }

  /** Begins a test: an empty fleet and an empty store. */
  begin(): void {
    const fleet = new ModelFleet({ m: { nodes: 1, gpus: 4 }, other: { nodes: 1, gpus: 4 } });
    this.fleet = fleet;
    // What a ledger holds is told at once.
    fleet.behind = (id) => this.look(id);
    this.#harness.agents = fleet;
    this.#harness.views.clear();
    for (const id of ["m", "other"]) {
      this.look(id);
      this.#harness.assumptions.remove(ORG, id);
    }
    this.#store = openSqliteDocumentStore(":memory:", systemClock);
  }

  /** Ends a test. */
  async end(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end();
    await this.store.close();
  }

  /** Has decisions see a cluster as it is now. */
  look(id: string): void {
    this.#harness.views.set(id, this.fleet.get(id).view());
  }

  /** Opens the org over its store, or another; what it does is over at the end of the test. */
  async open(store = this.store): Promise<TestScaling> {
    const scaling = await this.#open(store);
    this.#ends.unshift(() => scaling.stop());
    return scaling;
  }

  /** Opens it over a store that is to hang one day; gives what leaves it behind, as a process that was killed. */
  async openKilled(over: DocumentStore): Promise<() => void> {
    const scaling = await this.#open(over);
    // What waits for its store never stops.
    return () => void scaling.stop();
  }

  async #open(store: DocumentStore): Promise<TestScaling> {
    const { policies, running } = this.#harness;
    const bus: Bus = openBus({ orgId: ORG, logger: silentLogger, clock: systemClock });
    const victims = openVictims({ ...running, policies, orgId: ORG });
    const scaling = await openScaling({ store, bus, victims, placer: this.placer() });
    const stop = async () => {
      await scaling.stop();
      await bus.close();
    };
    this.#scaling = { ...scaling, stop };
    return this.#scaling;
  }

  /** What places replicas on the fleet. */
  placer() {
    const { fleet } = this;
    return openPlacer({
      ...{ orgId: ORG, agents: fleet, blocks: fleet.blocks, clock: systemClock },
      clusters: { snapshot: () => fleet.snapshot() },
      allocator: { allocate: (...given) => this.#harness.allocator.allocate(...given) },
    });
  }

  /** Creates quota "q" of subject "s", whose replicas a policy places on cluster "m". */
  async create(profile: object = {}, policy: string = "free"): Promise<void> {
    const placing = { policy_rule_uri: this.uri(policy), gpus_per_replica: { [FLAVOR]: 1 } };
    const allocation_info = { ...placing, clusters: ["m"], ...profile };
    await this.scaling.books.quotas.create({ quota_id: "q", subject_id: "s", allocation_info });
  }

  /** Where a policy is; one that nobody published has a URI, too. */
  uri(policy: string): string {
    return this.#uris.get(policy) ?? `${policy}:1-t`;
  }

  /** The book of places. */
  book(): ReplicaPlaces {
    return new ReplicaPlaces(this.scaling.books.transactions, this.scaling.scale);
  }

  /** Places of the quota. */
  places(): readonly ReplicaPlace[] {
    return this.book().of("q");
  }

  /** GPUs of each place of the quota. */
  slots(): readonly string[] {
    return this.places().map(({ gpus }) => gpus.join());
  }

  /** What the quota uses. */
  used() {
    return this.scaling.books.charges.usedBy("q");
  }

  /** Somebody else takes GPUs of cluster "m". */
  async take(...gpus: readonly string[]): Promise<void> {
    const bodyJson = JSON.stringify({ ttl_ms: 600_000, node_id: "m-node-0", gpus });
    const request = { method: "POST", path: "/leases", bodyJson } as const;
    const answer = await this.fleet.call("m", request, { timeoutMs: 1_000 });
    expect(answer).toMatchObject({ status: 201 });
  }
}

/** Places with these GPUs of cluster "m" as they are told. */
export function toldPlaces(slots: readonly string[]): readonly object[] {
  return slots.map((gpu) => ({
    ...{ cluster_id: "m", node_id: "m-node-0", gpus: [gpu] },
    lease_id: expect.stringMatching(/^m:/),
  }));
}
