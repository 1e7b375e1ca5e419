import { type DocumentStore, openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { checkRegistration } from "../nodes/check-fingerprint.ts";
import type { Registration } from "../nodes/node-registration.ts";
import { type NodeRegistry, openNodeRegistry } from "../nodes/node-registry.ts";
import { NodeStore } from "../nodes/node-store.ts";
import { HandClock, type registerRequest } from "./fixtures.ts";

/** Intervals of the tests, ms. */
export const INTERVALS = { gpuMs: 1_000, hostMs: 5_000, ttlMs: 15_000 } as const;

/** A registry on an in-memory store (or the given one) whose clock is moved by hand. */
export async function testRegistry(given?: DocumentStore): Promise<{
  clock: HandClock;
  store: DocumentStore;
  nodes: NodeRegistry;
}> {
  const clock = new HandClock();
  const store = given ?? openSqliteDocumentStore(":memory:", clock);
  const nodes = await openNodeRegistry({
    store: new NodeStore(store, "default_org"),
    clock,
    logger: silentLogger,
    intervals: INTERVALS,
  });
  return { clock, store, nodes };
}

/** Registers a node that must be taken in. */
export async function registered(
  nodes: NodeRegistry,
  request: ReturnType<typeof registerRequest>,
): Promise<Registration> {
  const outcome = await nodes.register(checkRegistration(request));
  if (outcome.kind === "refused") throw new Error(outcome.message);
  return outcome.registration;
}
