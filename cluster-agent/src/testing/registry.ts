import {
  type DocumentStore,
  duplicateRules,
  KeyedDocuments,
  openSqliteDocumentStore,
  silentLogger,
} from "@berth/service-kit";
import { checkRegistration } from "../nodes/check-fingerprint.ts";
import type { NodeEvent } from "../nodes/node-events.ts";
import type { RegisterOutcome, Registration } from "../nodes/node-registration.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { machineIdentity } from "../nodes/node-speaker.ts";
import { openNodeRegistry } from "../nodes/open-node-registry.ts";
import { HandClock, type registerRequest } from "./fixtures.ts";

/** Intervals of the tests, ms. */
export const INTERVALS = { gpuMs: 1_000, hostMs: 5_000, ttlMs: 15_000 } as const;

/** A registry on an in-memory store (or the given one) whose clock is moved by hand. */
export async function testRegistry(given?: DocumentStore): Promise<{
  clock: HandClock;
  store: DocumentStore;
  nodes: NodeRegistry;
  events: NodeEvent[];
}> {
  const clock = new HandClock();
  const store = given ?? openSqliteDocumentStore(":memory:", clock);
  const events: NodeEvent[] = [];
  const nodes = await openNodeRegistry({
    records: new KeyedDocuments({ store, orgId: "default_org", collection: "nodes" }),
    standings: new KeyedDocuments({ store, orgId: "default_org", collection: "node_standings" }),
    lifecycles: new KeyedDocuments({ store, orgId: "default_org", collection: "node_lifecycles" }),
    clock,
    logger: silentLogger,
    intervals: INTERVALS,
    duplicateRules: duplicateRules(INTERVALS),
    onEvent: (event) => events.push(event),
  });
  return { clock, store, nodes, events };
}

/** Asks to register with the key of the node and machine that the request names. */
export function registering(
  nodes: NodeRegistry,
  request: ReturnType<typeof registerRequest>,
): Promise<RegisterOutcome> {
  const asked = checkRegistration(request);
  const identity = machineIdentity(asked.inventory.machineId);
  return nodes.register(asked, () => ({ id: asked.nodeId, identity }));
}

/** Registers a node that must be taken in. */
export async function registered(
  nodes: NodeRegistry,
  request: ReturnType<typeof registerRequest>,
): Promise<Registration> {
  const outcome = await registering(nodes, request);
  if (outcome.kind === "refused") throw new Error(outcome.message);
  return outcome.registration;
}
