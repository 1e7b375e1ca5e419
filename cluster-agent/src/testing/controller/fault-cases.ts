import { describe, expect, it } from "vitest";
import type { Method } from "../block-agent.ts";
import type { ControllerClient as Client } from "./controller-client.ts";
import { failure, refusal } from "./failure.ts";

/** Routes that read a body, each below every prefix that serves it. */
const BODY_ROUTES: readonly (readonly [Method, string])[] = [
  ...["", "/controller"].flatMap((prefix): [Method, string][] => [
    ["POST", `${prefix}/executeAction`],
    ["POST", `${prefix}/cluster-actions/add-node`],
    ["PATCH", `${prefix}/cluster-actions/update-cluster`],
  ]),
  ...["", "/blocks"].flatMap((prefix): [Method, string][] => [
    ["POST", `${prefix}/blocks/query`],
    ["PUT", `${prefix}/block/update/none`],
    ["PUT", `${prefix}/block/update/none/metadata`],
    ["PUT", `${prefix}/block/update/none/cluster`],
  ]),
  ["POST", "/leases"],
  ["POST", "/leases/none/renew"],
  ["POST", "/nodes/none/pick"],
];

/** More than the 16 MiB that a body may have. */
const TOO_LARGE_CHARACTERS = 16 * 1024 * 1024 + 1;

/** Requests that cannot be read, and actions whose fields do not hold. */
export function faultCases(client: Client): void {
  describe.each(BODY_ROUTES)("%s %s", (method, url) => {
    const send = (text: string, type?: string) =>
      client.controller.raw(method, url, type === undefined ? { text } : { text, type });
    it("refuses a body that is no JSON object, and says what it is", async () => {
      expect(await send('{"a":')).toMatchObject(refusal(400, "INVALID_ARGUMENT", /not JSON/));
      const list = await send("[1]");
      expect(list).toMatchObject(refusal(400, "INVALID_ARGUMENT", /expected .*object.*array/));
      const text = await send("{}", "text/plain");
      expect(text).toMatchObject(refusal(415, "UNSUPPORTED_MEDIA_TYPE", /content-type/));
    });
  });

  it("refuses a body that is too large", async () => {
    const text = JSON.stringify({ action: "x".repeat(TOO_LARGE_CHARACTERS) });
    const answer = await client.controller.raw("POST", "/executeAction", { text });
    expect(answer).toMatchObject(refusal(413, "PAYLOAD_TOO_LARGE", /16777216 bytes/));
  });

  it.each([...wrongBlocks(), ...wrongFields()])(
    "refuses %j by the field: %s",
    async (body, field) => {
      const expected = failure(400, "INVALID_ARGUMENT", new RegExp(`^${field}\\b`));
      expect(await client.call("POST", "/executeAction", body)).toMatchObject(expected);
      expect(await client.taken()).toBe(0);
    },
  );

  it("refuses a block that names no program", async () => {
    const block_data = { id: "a", component: {} };
    const expected = failure(400, "PRECONDITION_FAILED", /the component names no/);
    expect(await client.act("create_block", { block_data })).toMatchObject(expected);
  });
}

/** Creations of blocks with one field that does not hold, and its name. */
function wrongBlocks(): readonly (readonly [object, string])[] {
  const create = (fields: object) => ({
    action: "create_block",
    block_data: { id: "a", ...fields },
  });
  return [
    [{ action: "create_block" }, "block_data"],
    [{ action: "create_block", block_data: [] }, "block_data"],
    [create({ id: "A" }), "block_data.id"],
    [create({ minInstances: -1 }), "block_data.minInstances"],
    [create({ minInstances: "many" }), "block_data.minInstances"],
    [create({ minInstances: 2, maxInstances: 1 }), "block_data.minInstances"],
    [create({ component: "c" }), "block_data.component"],
    [create({ parameters: 1 }), "block_data.parameters"],
    [create({ policies: [] }), "block_data.policies"],
    [
      create({ policies: { resourceAllocator: { parameters: { gpus: 1.5 } } } }),
      "block_data.policies.resourceAllocator.parameters.gpus",
    ],
    [create({ resources: { gpus: -1 } }), "block_data.resources.gpus"],
  ];
}

/** Other actions with one field that does not hold, and its name. */
function wrongFields(): readonly (readonly [object, string])[] {
  const up = { action: "scale", block_id: "b", operation: "scale", instances_count: 1 };
  const down = { action: "scale", block_id: "b", operation: "downscale", instances_list: ["in"] };
  const one = { action: "remove_instance", block_id: "b", instance_id: "in" };
  const move = { action: "reassign", block_id: "b", instance_id: "in" };
  const remove = { action: "remove_block", block_id: "b" };
  return [
    [{}, "action"],
    [{ action: 7 }, "action"],
    [{ action: "dance" }, "Unknown action: dance"],
    [{ action: "dance", data: {} }, "Unknown action: dance"],
    [{ ...remove, data: 7 }, "data"],
    [{ ...remove, data: [] }, "data"],
    [{ ...remove, cluster_id: "other" }, "cluster_id"],
    [{ ...remove, wait: "no" }, "wait"],
    [{ ...remove, force: "x" }, "force"],
    [{ ...remove, timeout_ms: -1 }, "timeout_ms"],
    [{ ...remove, idempotency_key: "" }, "idempotency_key"],
    [{ action: "dry_run" }, "block_data"],
    [{ action: "dry_run", inputs: { id: "A" }, block_data: { id: "a" } }, "inputs.id"],
    [{ action: "remove_block" }, "block_id"],
    [{ action: "remove_block", block_id: 7 }, "block_id"],
    [{ ...up, block_id: "" }, "block_id"],
    [{ ...up, operation: "sideways" }, "operation"],
    [{ ...up, instances_count: 1.5 }, "instances_count"],
    [{ ...up, instances_count: "1" }, "instances_count"],
    [{ ...up, allocation_data: {} }, "allocation_data"],
    [{ ...up, allocation_data: [7] }, "allocation_data.0"],
    [{ ...up, allocation_data: [{ node_id: 7 }] }, "allocation_data.0.node_id"],
    [{ ...up, instances_count: 2, allocation_data: [{ node_id: "n" }] }, "allocation_data"],
    [{ ...up, init_data: {} }, "init_data"],
    [{ ...up, instances_count: 2, init_data: [{}] }, "init_data"],
    [{ ...up, lease_ids: "l" }, "lease_ids"],
    [{ ...down, instances_list: "in" }, "instances_list"],
    [{ ...down, instances_list: [] }, "instances_list"],
    [{ ...down, instances_list: ["in", 7] }, "instances_list.1"],
    [{ ...down, force: "yes" }, "force"],
    [{ ...one, instance_id: undefined }, "instance_id"],
    [{ ...one, force: 1 }, "force"],
    [{ ...move, instance_id: 7 }, "instance_id"],
    [{ ...move, ready_timeout_ms: -1 }, "ready_timeout_ms"],
    [{ action: "reassign-instances", instance_id: "in" }, "block_id"],
    [{ action: "parameter_update", block_id: "b" }, "update_data"],
    [{ action: "parameter_update", block_id: "b", update_data: {} }, "update_data"],
    [{ action: "parameter_update", update_data: { a: 1 } }, "block_id"],
    [{ action: "dry_run" }, "block_data"],
    [{ action: "dry_run", inputs: 7 }, "inputs|block_data"],
  ];
}
