import { describe, expect, it } from "vitest";
import { nodeCapacity } from "../allocator/node-capacity.ts";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { INTERVALS, registered, testRegistry } from "../testing/registry.ts";
import type { NodeRegistry } from "./node-registry.ts";
import { isOpenNode, type NodeView } from "./node-view.ts";
import type { ReportedNode } from "./reported-nodes.ts";

/** node-a as Kubernetes tells of it: Ready, 7.91 cores. */
function reported(more: Partial<ReportedNode> = {}): ReportedNode {
  return {
    ...{ nodeId: "node-a", name: "ip-10-0-0-7", isReady: true },
    ...{ cpuMillis: 7_910, memoryMiB: 2_048, storageMiB: 10_240 },
    ...{ osRelease: "Debian", kernelRelease: "6.1", architecture: "amd64" },
    ...more,
  };
}

const UNREADY = reported({ isReady: false, refusal: "not Ready in Kubernetes" });
const CORDONED = reported({ refusal: "cordoned in Kubernetes" });
const entryJson = '{"id":"node-a"}';
const onboard = (nodes: NodeRegistry) =>
  nodes.roster.step("node-a", { kind: "onboard", entryJson });
const stateOf = (nodes: NodeRegistry) => nodes.roster.get("node-a")?.state;
const viewOf = (nodes: NodeRegistry): NodeView => {
  const view = nodes.view("node-a");
  if (view === undefined) throw new Error("the registry has no node-a");
  return view;
};

describe("a node that Kubernetes tells of", () => {
  it("is ready once it is expected and Ready, with what pods may have of it and no GPU", async () => {
    const { nodes, events } = await testRegistry();
    await onboard(nodes);
    await nodes.takeReported([UNREADY]);
    expect([stateOf(nodes), nodes.views()]).toEqual(["expected", []]);
    await nodes.takeReported([reported()]);
    expect(stateOf(nodes)).toBe("ready");
    const view = viewOf(nodes);
    expect(view).toMatchObject({ liveness: "live", isReportedOnly: true, slots: [] });
    expect(isOpenNode(view)).toBe(true);
    const amounts = { cpuMillis: 7_910, memoryMiB: 2_048, storageMiB: 10_240 };
    expect(nodeCapacity(view)).toEqual({ nodeId: "node-a", gpus: [], ...amounts });
    await nodes.takeReported([reported()]);
    expect(events.filter(({ kind }) => kind === "node_joined")).toHaveLength(1);
  });

  it("is nothing to a cluster that nobody told of it", async () => {
    const { nodes } = await testRegistry();
    await nodes.takeReported([reported()]);
    expect([stateOf(nodes), nodes.views()]).toEqual([undefined, []]);
  });

  it("stays out after its removal until it is onboarded again", async () => {
    const { nodes } = await testRegistry();
    await onboard(nodes);
    await nodes.takeReported([reported()]);
    await nodes.roster.step("node-a", { kind: "drain", operationId: "op" });
    await nodes.roster.step("node-a", { kind: "retire", operationId: "op" });
    await nodes.remove("node-a", { force: true, forgetKey: async () => false });
    await nodes.takeReported([reported()]);
    expect([stateOf(nodes), nodes.views()]).toEqual(["removed", []]);
    await onboard(nodes);
    await nodes.takeReported([reported()]);
    expect([stateOf(nodes), viewOf(nodes).liveness]).toEqual(["ready", "live"]);
  });

  it.each([CORDONED, UNREADY])("takes nothing new while it is $refusal", async (told) => {
    const { nodes } = await testRegistry();
    await onboard(nodes);
    await nodes.takeReported([reported()]);
    const before = nodes.structureVersion;
    await nodes.takeReported([told]);
    expect(nodes.structureVersion).toBeGreaterThan(before);
    expect(isOpenNode(viewOf(nodes))).toBe(false);
    expect(nodeCapacity(viewOf(nodes)).refusal).toBe(told.refusal);
    expect(stateOf(nodes)).toBe("ready");
    await nodes.takeReported([reported()]);
    expect(isOpenNode(viewOf(nodes))).toBe(true);
  });

  it("takes nothing new once Kubernetes has it no more, and is lost when nothing is told at all", async () => {
    const { nodes, clock } = await testRegistry();
    await onboard(nodes);
    await nodes.takeReported([reported()]);
    await nodes.takeReported([]);
    expect(nodeCapacity(viewOf(nodes)).refusal).toMatch(/no node with the label nodeID=node-a/);
    clock.advance(INTERVALS.ttlMs + 1);
    nodes.sweep();
    expect(viewOf(nodes).liveness).toBe("telemetry_lost");
    await nodes.takeReported([reported()]);
    expect(isOpenNode(viewOf(nodes))).toBe(true);
  });

  it("is known from the store after a restart, and of use when it is told of again", async () => {
    const first = await testRegistry();
    await onboard(first.nodes);
    await first.nodes.takeReported([reported()]);
    const { nodes } = await testRegistry(first.store);
    expect(viewOf(nodes)).toMatchObject({ lifecycle: "ready", liveness: "unknown" });
    await nodes.takeReported([reported()]);
    expect(isOpenNode(viewOf(nodes))).toBe(true);
  });
});

describe("a node that has an agent and that Kubernetes tells of", () => {
  const withGpus = registerRequest({ fingerprint: fingerprint({ gpus: ["GPU-0", "GPU-1"] }) });

  it("has the GPUs that its agent names, each once, whoever came first", async () => {
    const { nodes, events } = await testRegistry();
    await onboard(nodes);
    await nodes.takeReported([reported()]);
    await registered(nodes, withGpus);
    await nodes.takeReported([reported()]);
    const view = viewOf(nodes);
    expect(view).toMatchObject({ isReportedOnly: false, inventory: { hostname: "node-a" } });
    const { gpus, cpuMillis, memoryMiB } = nodeCapacity(view);
    expect(gpus.map(({ uuid }) => uuid)).toEqual(["GPU-0", "GPU-1"]);
    expect({ cpuMillis, memoryMiB }).toEqual({ cpuMillis: 7_910, memoryMiB: 2_048 });
    expect(nodes.views()).toHaveLength(1);
    expect(events.filter(({ kind }) => kind === "node_joined")).toHaveLength(2);
  });

  it("gives no GPU while it is cordoned in Kubernetes, though its agent is heard", async () => {
    const { nodes } = await testRegistry();
    await registered(nodes, withGpus);
    await nodes.takeReported([CORDONED]);
    const { verdicts, liveness } = viewOf(nodes);
    expect(liveness).toBe("live");
    expect(verdicts.map(({ cordoned }) => cordoned)).toEqual([true, true]);
    await nodes.takeReported([reported()]);
    expect(viewOf(nodes).verdicts.map(({ cordoned }) => cordoned)).toEqual([undefined, undefined]);
  });

  it("takes nothing until a Kubernetes node carries its id, as its pods could go nowhere", async () => {
    const { nodes } = await testRegistry();
    await registered(nodes, withGpus);
    const { cpuMillis } = nodeCapacity(viewOf(nodes));
    await nodes.takeReported([]);
    const refusal = "Kubernetes has no node with the label nodeID=node-a";
    expect(nodeCapacity(viewOf(nodes))).toMatchObject({ refusal, cpuMillis });
    await nodes.takeReported([reported()]);
    expect(isOpenNode(viewOf(nodes))).toBe(true);
  });

  it("is lost when its agent is silent, whatever Kubernetes says", async () => {
    const { nodes, clock } = await testRegistry();
    await registered(nodes, withGpus);
    clock.advance(INTERVALS.ttlMs + 1);
    await nodes.takeReported([reported()]);
    expect(viewOf(nodes).liveness).toBe("telemetry_lost");
  });
});
