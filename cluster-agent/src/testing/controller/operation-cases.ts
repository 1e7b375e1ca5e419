import { describe, expect, it } from "vitest";
import type { ControllerClient as Client } from "./controller-client.ts";
import { STUCK_OPERATIONS } from "./controller-under-test.ts";
import { failure, refusal } from "./failure.ts";

/** How requests are answered, and what is told of the operations that they become. */
export function operationCases(client: Client): void {
  describe("operations", () => {
    acceptedCases(client);
    keyCases(client);
    routeCases(client);
    stuckCases(client);
  });
}

function acceptedCases(client: Client): void {
  it.each([[{ wait: false }], [{ timeout_ms: 0 }]])(
    "are answered with 202 and an id when they are accepted: %j",
    async (manners) => {
      const block_data = client.entry("b1", { minInstances: 2 });
      const accepted = await client.act("create_block", { block_data, ...manners });
      expect(accepted).toMatchObject({
        status: 202,
        body: {
          success: true,
          data: { operation_id: expect.any(String), state: "running" },
          operation: { action: "create_block", block_id: "b1", progress: { done: 0, total: 0 } },
        },
      });
      const done = await client.operation(accepted.body.data.operation_id, "done");
      expect(done).toMatchObject({ result: "Action performed", step: "done" });
      expect(done.progress.done).toBe(done.progress.total);
      expect(await client.instances("b1")).toHaveLength(2);
    },
  );

  it("show why they failed", async () => {
    const accepted = await client.act("create_block", {
      ...{ block_data: client.entry("b1", { minInstances: 5 }), wait: false },
    });
    expect(accepted.status).toBe(202);
    const failed = await client.operation(accepted.body.data.operation_id, "failed");
    expect(failed.error).toMatchObject({ reason: "CONFLICT" });
    expect(failed.error.message).toMatch(/no place for instance 5 of 5/);
  });
}

function keyCases(client: Client): void {
  it("are one and the same by their idempotency key, whatever the shape, and no other", async () => {
    const block_data = client.entry("b1");
    const first = await client.act("create_block", { block_data, idempotency_key: "k1" });
    const id = first.body.operation.operation_id;
    const again = { block_data, idempotency_key: "k1" };
    const nested = { action: "create_block", data: again };
    for (const url of ["/executeAction", "/controller/executeAction"]) {
      expect(await client.call("POST", url, nested)).toMatchObject({
        ...{ status: 200, body: { data: "Action performed", operation: { operation_id: id } } },
      });
    }
    const other = { ...again, block_data: client.entry("b1", { tags: ["other"] }) };
    expect(await client.act("create_block", other)).toMatchObject(
      failure(409, "ALREADY_EXISTS", /^idempotency_key: it was used for another request/),
    );
    expect(await client.instances("b1")).toHaveLength(1);
  });
}

function routeCases(client: Client): void {
  it("are listed, the newest first, by block and state, and shown", async () => {
    await client.create("b1", { minInstances: 0 });
    await client.act("remove_block", { block_id: "b1" });
    const list = async (query: string) => (await client.call("GET", `/operations?${query}`)).body;
    expect((await list("block_id=b1&limit=2")).data).toMatchObject([
      { action: "remove_block", state: "done", block_id: "b1" },
      { action: "create_block", state: "done", block_id: "b1" },
    ]);
    expect((await list("state=done&limit=1")).data).toHaveLength(1);
    expect((await list("state=undoing")).data).toEqual([]);
    const [{ operation_id: id }] = (await list("block_id=b1&limit=1")).data;
    const shown = await client.call("GET", `/operations/${id}`);
    expect(shown).toMatchObject({ status: 200, body: { data: { operation_id: id, attempts: 1 } } });
    for (const verb of ["retry", "abandon"]) {
      expect(await client.call("POST", `/operations/${id}/${verb}`)).toMatchObject(
        refusal(400, "PRECONDITION_FAILED", /is done: only a stuck one/),
      );
    }
  });

  it.each([
    [
      "GET",
      "/operations?state=asleep",
      refusal(400, "INVALID_ARGUMENT", /^state: expected one of/),
    ],
    ["GET", "/operations?limit=many", refusal(400, "INVALID_ARGUMENT", /limit/)],
    ["GET", "/operations?colour=red", refusal(400, "INVALID_ARGUMENT", /colour/)],
    ["GET", "/operations/none", refusal(404, "NOT_FOUND", /no operation "none"/)],
    ["POST", "/operations/none/retry", refusal(404, "NOT_FOUND", /no operation "none"/)],
    ["POST", "/operations/none/abandon", refusal(404, "NOT_FOUND", /no operation "none"/)],
  ] as const)("refuse %s %s", async (method, url, expected) => {
    expect(await client.call(method, url)).toMatchObject(expected);
  });
}

function stuckCases(client: Client): void {
  it("that are stuck keep their block until they are retried or abandoned", async () => {
    const [first, second] = STUCK_OPERATIONS;
    const stuck = await client.call("GET", "/operations?state=stuck");
    expect(stuck.body.data.map((one: { operation_id: string }) => one.operation_id).sort()).toEqual(
      [first, second],
    );
    expect(await client.act("remove_block", { block_id: `of-${first}` })).toMatchObject(
      failure(409, "CONFLICT", /operation stuck-1 .* is stuck: retry or abandon it first/),
    );
    const retried = await client.call("POST", `/operations/${first}/retry`);
    expect(retried).toMatchObject({ status: 200, body: { data: { state: "undoing" } } });
    // There is nothing of its block to take back.
    expect((await client.operation(first, "failed")).error).toMatchObject({ message: "broken" });
    const abandoned = await client.call("POST", `/operations/${second}/abandon`);
    expect(abandoned).toMatchObject({ status: 200, body: { data: { state: "abandoned" } } });
    for (const id of STUCK_OPERATIONS) {
      expect(await client.act("remove_block", { block_id: `of-${id}` })).toMatchObject(
        failure(404, "NOT_FOUND", /no block/),
      );
    }
  });
}
