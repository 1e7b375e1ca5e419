import { describe, expect, it } from "vitest";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { registered, registering, testRegistry } from "../testing/registry.ts";
import { checkRegistration } from "./check-fingerprint.ts";

describe("events of NodeRegistry", () => {
  const kinds = (events: readonly { kind: string }[]) => events.map((event) => event.kind);

  it("tell that a node joined, fell silent, came back and rebooted, each once", async () => {
    const { nodes, clock, events } = await testRegistry();
    const registration = await registered(nodes, registerRequest());
    await registered(nodes, registerRequest());
    clock.advance(15_001);
    nodes.sweep();
    nodes.sweep();
    const rebooted = fingerprint({ bootId: "boot-2" });
    const later = { nodeIncarnation: 2n, agentInstanceId: "b", fingerprint: rebooted };
    await nodes.report(registration, { gpus: [] });
    expect(kinds(events)).toEqual(["node_joined", "node_telemetry_lost"]);
    await registered(nodes, registerRequest(later));
    expect(kinds(events).slice(2)).toEqual(["node_back", "node_rebooted"]);
    expect(events.every((event) => event.key === "node/node-a")).toBe(true);
    expect(events.at(-1)?.facts).toEqual({ bootId: "boot-2", formerBootId: "boot-1" });
  });

  it("do not tell again of nodes that were known at the start", async () => {
    const { nodes, store } = await testRegistry();
    await registered(nodes, registerRequest());
    const { nodes: again, events } = await testRegistry(store);
    await registered(again, registerRequest());
    expect(events).toEqual([]);
  });

  it("tell a refusal once, until the node was let in", async () => {
    const { nodes, events } = await testRegistry();
    await registered(nodes, registerRequest());
    const foreign = registerRequest({ fingerprint: fingerprint({ machineId: "machine-b" }) });
    await registering(nodes, foreign);
    await registering(nodes, foreign);
    expect(kinds(events)).toEqual(["node_joined", "node_refused"]);
    expect(events[1]?.facts).toMatchObject({ reason: "ALREADY_EXISTS" });
    await registered(nodes, registerRequest());
    await registering(nodes, foreign);
    expect(kinds(events)).toEqual(["node_joined", "node_refused", "node_refused"]);
  });

  it("tell that a node was removed, and of its agent as of a new one then", async () => {
    const { nodes, store, events } = await testRegistry();
    await registered(nodes, registerRequest());
    const forgetKey = async () => true;
    await nodes.remove("node-a", { force: false, forgetKey });
    expect(events.at(-1)).toEqual({
      ...{ kind: "node_removed", key: "node/node-a" },
      facts: { force: false, connected: false },
    });
    const { nodes: again } = await testRegistry(store);
    expect(again.views()).toEqual([]);
    await registered(nodes, registerRequest());
    expect(kinds(events)).toEqual(["node_joined", "node_removed", "node_joined"]);
  });

  it("let nobody in whose key has ended while it waited for its turn", async () => {
    const { nodes } = await testRegistry();
    await registered(nodes, registerRequest());
    let isKnown = true;
    const removed = nodes.remove("node-a", {
      force: true,
      forgetKey: async () => {
        isKnown = false;
        return true;
      },
    });
    const asked = checkRegistration(registerRequest());
    const waiting = nodes.register(asked, () => {
      if (!isKnown) throw new Error("the key has ended");
      return { id: "node-a", identity: "machine:machine-a" };
    });
    await expect(waiting).rejects.toThrow("the key has ended");
    await removed;
    expect(nodes.views()).toEqual([]);
  });
});
