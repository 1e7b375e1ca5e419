import { CommandSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { until } from "../testing/fixtures.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const FENCE = { storeId: "store-1", controllerTerm: 7n };

interface Called {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  readonly timeoutMs?: number;
}

/** An agent that runs blocks, linked to a control-plane that follows a script. */
class Linked {
  readonly plane = new FakeControlPlane({ storeId: "store-1", term: 7n, snapshotWanted: false });
  fleet: BlockAgent;
  #orders = 0;

  constructor(fleet: BlockAgent, plane: FakeControlPlane) {
    this.fleet = fleet;
    this.plane = plane;
  }

  /** Gives an order. */
  order({ method, path, body, timeoutMs = 20_000 }: Called, fence = FENCE): string {
    this.#orders += 1;
    const commandId = `cmd-${this.#orders}`;
    const bodyJson = body === undefined ? "" : JSON.stringify(body);
    const order = { case: "call", value: { method, path, bodyJson } } as const;
    this.plane.order(create(CommandSchema, { commandId, fence, timeoutMs, order }));
    return commandId;
  }

  /** What came of an order. */
  async outcome(commandId: string) {
    const find = () => this.plane.completions.find((one) => one.commandId === commandId);
    await until(`the answer of ${commandId}`, () => find() !== undefined, 20_000);
    return find();
  }

  async call(request: Called) {
    const { outcome } = (await this.outcome(this.order(request))) ?? {};
    if (outcome?.case !== "resultJson") throw new Error(JSON.stringify(outcome));
    return JSON.parse(outcome.value);
  }
}

async function linked(): Promise<Linked> {
  const plane = new FakeControlPlane({ storeId: "store-1", term: 7n, snapshotWanted: false });
  await plane.start(cleanup);
  const config = { controlPlaneUrl: plane.url, enrolmentToken: LINK_TOKEN };
  const fleet = await startBlockAgent(cleanup, { config });
  // Instances outlive their agent: what a test leaves is ended with it.
  cleanup.add(async () => {
    for (const { id } of fleet.blocks.book.blocks()) {
      await fleet.blocks.runtime.removeBlock(id, AbortSignal.timeout(20_000));
    }
  });
  await until("the command stream", () => plane.commandSessions.length > 0);
  return new Linked(fleet, plane);
}

const component = { containerRegistryInfo: { command: ECHO_COMMAND } };
const block = (id: string) => ({ id, component, resources: { gpus: 1, cpuMillis: 100 } });
const lease = { subject: "placement", ttl_ms: 60_000, node_id: "node-a", gpus: ["0"] };

describe("an order that is a request", () => {
  it("is answered as the API of the port answers, with its refusals, and with the ledger's revision", async () => {
    const link = await linked();
    const { fleet } = link;
    expect(await link.call({ method: "GET", path: "/ledger" })).toEqual({
      status: 200,
      body: (await fleet.call("GET", "/ledger")).body,
    });
    const bad = { method: "POST", path: "/leases", body: { ...lease, gpus: ["9"] } };
    expect(await link.call(bad)).toEqual({
      status: 400,
      body: (await fleet.call("POST", "/leases", bad.body)).body,
    });
    expect(await link.call({ method: "GET", path: "/nowhere" })).toMatchObject({ status: 404 });
    expect(await link.call({ method: "GET", path: "/metrics" })).toEqual({
      status: 200,
      body: expect.stringContaining("# TYPE"),
    });
    const id = link.order({ method: "POST", path: "/leases", body: lease });
    const revision = (await link.outcome(id))?.ledgerRevision;
    expect(revision).toBe(fleet.blocks.ledger.status.revision);
    expect(revision).toBeGreaterThan(0n);
  });

  it("acts in the name of the control-plane's store, and nobody outside can", async () => {
    const link = await linked();
    const { fleet } = link;
    const { ledger, runtime, operationBook } = fleet.blocks;
    const body = { ...lease, block_data: block("b") };
    const leased = await link.call({ method: "POST", path: "/leases", body });
    expect(leased).toMatchObject({ status: 201, body: { data: { lease_id: "cmd-1" } } });
    expect(ledger.hold("cmd-1")).toMatchObject({ storeId: "store-1" });
    const made = { action: "create_block", block_data: block("b"), lease_ids: ["cmd-1"] };
    // A client of the port may not take over what the control-plane holds.
    expect(await fleet.act({ ...made, wait: true })).toMatchObject({
      status: 409,
      body: { message: "lease_ids.0: lease cmd-1 was not given out for store " },
    });
    const created = await link.call({ method: "POST", path: "/executeAction", body: made });
    expect(created).toMatchObject({ status: 200, body: { operation: { state: "done" } } });
    expect(operationBook.withKey("cmd-2")).toMatchObject({
      plan: { fence: { storeId: "store-1", controllerTerm: "7" } },
    });
    const { instances } = await runtime.observe(AbortSignal.timeout(5_000));
    expect(instances).toMatchObject([
      { ownership: { fence: { storeId: "store-1", controllerTerm: "7" } } },
    ]);
    const url = "/leases";
    const payload = { ...lease, lease_id: "outside", gpus: [1] };
    const headers = { host: "localhost", authorization: "Berth-Order guessed" };
    await fleet.agent.http.inject({ method: "POST", url, headers, payload });
    expect(ledger.hold("outside")).toMatchObject({ storeId: "" });
  });

  it("is refused when its store is not the one that is obeyed", async () => {
    const link = await linked();
    const foreign = { ...FENCE, storeId: "another-store" };
    const id = link.order({ method: "POST", path: "/leases", body: lease }, foreign);
    expect((await link.outcome(id))?.outcome).toMatchObject({
      case: "refusal",
      value: { reason: "PRECONDITION_FAILED", message: expect.stringContaining("store-1") },
    });
    expect(link.fleet.blocks.ledger.holds()).toEqual([]);
  });

  it("answers 202 for an action that goes on longer than the order's time, and carries a large body", async () => {
    const link = await linked();
    // Nothing is done to any block before the ledger is open.
    await link.fleet.blocks.ledger.close("the test holds it");
    const blockInitData = { text: "x".repeat(200_000) };
    const answer = await link.call({
      ...{ method: "POST", path: "/executeAction", timeoutMs: 1_500 },
      body: { action: "create_block", block_data: { ...block("b"), blockInitData } },
    });
    expect(answer).toMatchObject({ status: 202, body: { operation: { state: "running" } } });
  });

  it("waits for no other: more than run at once are answered in their turn", async () => {
    const link = await linked();
    const ids = Array.from({ length: 30 }, () => link.order({ method: "GET", path: "/blocks" }));
    for (const id of ids) {
      const { outcome } = (await link.outcome(id)) ?? {};
      expect(outcome).toMatchObject({ case: "resultJson" });
    }
  });
});
