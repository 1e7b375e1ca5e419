import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createSandbox, PolicyContexts, type Sandbox } from "@berth/policy-sandbox";
import { STATE_DIR } from "@berth/policy-sandbox/testing/state-dir";
import { BerthError, openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { readFrame } from "../allocation/allocation-request.ts";
import { Allocator } from "../allocation/allocator.ts";
import { Assumptions } from "../allocation/assumptions.ts";
import type { DecisionRecord } from "../allocation/decisions/decision-record.ts";
import { type HoldCharging, Holder } from "../allocation/holder.ts";
import { ResidentCatalog } from "../allocation/resident-catalog.ts";
import type { AgentApi } from "../fleet/agent-api.ts";
import type { ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import { PolicyRegistry } from "../policies/policy-registry.ts";
import { aGpu, aView } from "./documents.ts";

/** Org of everything that an {@link AllocatorHarness} holds. */
export const ORG = "default_org";

const CAPS = { wallMs: 30_000, cpuMs: 20_000, memoryMiB: 256 };
const principal = { orgId: ORG, role: "admin" } as const;

/** A policy's eval that chooses nothing and tells which clusters it was given. */
export const SEEN = 'return {"cluster_id": None, "seen": list(input_data["cluster_data"])}';

/** No cluster has an agent. */
const NO_CHARGES: HoldCharging = {
  quotaOf: () => undefined,
  take: async () => undefined,
  end: async () => {},
};
const NO_AGENTS: AgentApi = {
  call: async (clusterId) => {
    throw new BerthError("NOT_FOUND", `cluster ${clusterId} has no agent`);
  },
};

/** Clusters "c1" (live, two free GPUs), "c2" (without an agent) and "gone" (unreachable). */
export function threeClusters(): Map<string, ClusterView> {
  return new Map([
    ["c1", aView("c1", { gpus: [aGpu("0"), aGpu("1")] })],
    ["c2", aView("c2", { health: "unknown" })],
    ["gone", aView("gone", { health: "unreachable" })],
  ]);
}

/** An allocator over a store, a sandbox (whose workers hold 1 MiB of documents) and a fleet of its own, for tests. */
export class AllocatorHarness {
  /** The fleet, at revision 42; what is set here is what the next decision sees. */
  readonly views = threeClusters();
  /** What answers have given away; here it outlives a restart. */
  readonly assumptions = new Assumptions(systemClock);
  /** Decisions in the order in which they ended. */
  readonly records: DecisionRecord[] = [];
  /** The agents of the fleet; those of these clusters have no ledgers until a test gives them some. */
  agents: AgentApi = NO_AGENTS;
  /** What charges holds; nobody until a test says who. */
  holds: HoldCharging = NO_CHARGES;
  /** Done once, before the next look at the fleet: when a policy's turn has come. */
  onceAsked: (() => Promise<void>) | undefined;
  policies: PolicyRegistry;
  contexts: PolicyContexts;
  #allocator: Allocator;
  #sandbox: Sandbox;
  readonly #directory = mkdtempSync(path.join(tmpdir(), "berth-allocator-"));
  /** What everything is kept in. */
  readonly store = openSqliteDocumentStore(path.join(this.#directory, "cp.db"), systemClock);

  constructor() {
    this.#sandbox = this.#openSandbox();
    this.contexts = this.#openContexts();
    this.policies = this.#openPolicies();
    this.#allocator = this.#openAllocator();
  }

  /** The one that runs now. */
  get allocator(): Allocator {
    return this.#allocator;
  }

  /** What other policies than its own are run with. */
  get running() {
    return { contexts: this.contexts, sandbox: this.#sandbox, caps: CAPS };
  }

  /** Resolves when policies can run. */
  ready(): Promise<void> {
    return this.#sandbox.ready();
  }

  /** Stops what runs and begins anew with what the store has. */
  async restart(): Promise<void> {
    await this.contexts.stop();
    await this.#sandbox.close();
    this.#sandbox = this.#openSandbox();
    this.contexts = this.#openContexts();
    this.policies = this.#openPolicies();
    this.#allocator = this.#openAllocator();
    await this.ready();
  }

  /** Ends everything and removes its files. */
  async close(): Promise<void> {
    await this.#sandbox.close();
    await this.store.close();
    rmSync(this.#directory, { recursive: true });
  }

  /** Publishes a policy whose eval has this body, and gives its URI. */
  async publish(name: string, body: string, defaults = "{}"): Promise<string> {
    const indented = body.replaceAll("\n", "\n        ");
    const source = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.settings = settings
        self.parameters = parameters
    def eval(self, parameters, input_data, context):
        ${indented}
`;
    const text = `{"name":${JSON.stringify(name)},"version":"1","release_tag":"t","policy_parameters":${defaults},"code":${JSON.stringify(source)}}`;
    await this.policies.publish(ORG, JSON.parse(text), text);
    return `${name}:1-t`;
  }

  /** The reply to a request for this policy, as JSON would give it; `fields` may be JSON text. */
  async allocate(uri: string, fields: object | string = {}): Promise<unknown> {
    const extra = typeof fields === "string" ? fields : JSON.stringify(fields).slice(1, -1);
    const text = `{"policy_rule_uri":"${uri}","inputs":{}${extra === "" ? "" : `,${extra}`}}`;
    const never = new AbortController().signal;
    const reply = await this.#allocator.allocate(principal, readFrame(text), never);
    return JSON.parse(JSON.stringify(reply));
  }

  async #snapshot(): Promise<FleetSnapshot> {
    const { onceAsked } = this;
    this.onceAsked = undefined;
    await onceAsked?.();
    return { revision: 42, clusters: this.views };
  }

  #openSandbox(): Sandbox {
    return createSandbox({ stateDir: STATE_DIR, maxResidentMiB: 1 });
  }

  #openPolicies(): PolicyRegistry {
    return new PolicyRegistry({
      ...{ store: this.store, sandbox: this.#sandbox, contexts: this.contexts },
    });
  }

  #openContexts(): PolicyContexts {
    return new PolicyContexts({ store: this.store, logger: silentLogger });
  }

  #openAllocator(): Allocator {
    return new Allocator({
      clusters: { snapshot: () => this.#snapshot() },
      policies: this.policies,
      contexts: this.contexts,
      sandbox: this.#sandbox,
      assumeSeconds: 0,
      caps: CAPS,
      residents: new ResidentCatalog(),
      assumptions: this.assumptions,
      holder: new Holder(
        { call: (...given) => this.agents.call(...given) },
        {
          quotaOf: (...given) => this.holds.quotaOf(...given),
          take: (...given) => this.holds.take(...given),
          end: (...given) => this.holds.end(...given),
        },
      ),
      decisions: { record: (_orgId, record) => void this.records.push(record) },
    });
  }
}
