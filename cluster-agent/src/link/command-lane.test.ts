import { type Command, CommandSchema } from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { laneOf } from "./command-lane.ts";

type OrderInit = NonNullable<MessageInitShape<typeof CommandSchema>["order"]>;

const command = (order: OrderInit): Command => create(CommandSchema, { order });
const call = (method: string, path: string, bodyJson?: string) =>
  laneOf(command({ case: "call", value: { method, path, ...(bodyJson && { bodyJson }) } }));

describe("the lane of a command", () => {
  it.each([
    ["GET", "/blocks"],
    ["GET", "/cluster-actions/get-cluster"],
    ["GET", "/controller/cluster-actions/get-cluster?x=1"],
    ["POST", "/blocks/query"],
    ["POST", "/blocks/blocks/query"],
    ["POST", "/leases"],
    ["POST", "/leases/"],
    ["POST", "/leases/l1/renew"],
    ["DELETE", "/leases/l1?subject=s"],
  ])("is quick for what runs no policy: %s %s", (method, path) => {
    expect(call(method, path)).toBe("quick");
  });

  it.each([
    ["POST", "/executeAction"],
    ["POST", "/controller/executeAction?x=/leases"],
    ["PATCH", "/cluster-actions/update-cluster"],
    ["POST", "/cluster-actions/add-node"],
    ["DELETE", "/cluster-actions/remove-node/n1"],
    ["DELETE", "/nodes/n1"],
    ["PUT", "/block/update/b1"],
    ["POST", "/leases/../executeAction"],
    ["POST", "/leases/x/../../executeAction"],
    ["POST", "/a-route/of-a-later/version"],
  ])("is slow for what may run policies, and for what is not known: %s %s", (method, path) => {
    expect(call(method, path)).toBe("slow");
  });

  it.each([
    ["POST", "/executeAction", '{"action":"dry_run","block_data":{"id":"b"}}', "trial"],
    ["POST", "/controller/executeAction", '{"action":"dry_run","data":{}}', "trial"],
    ["POST", "/executeAction", '{"action":"create_block","data":{"action":"dry_run"}}', "slow"],
    ["POST", "/executeAction", '["dry_run"]', "slow"],
    ["POST", "/executeAction", '{"action":"dry_run"', "slow"],
    ["PUT", "/block/update/b1", '{"action":"dry_run"}', "slow"],
  ])("is that of trials for dry runs and nothing else: %s %s %s", (method, path, body, lane) => {
    expect(call(method, path, body)).toBe(lane);
  });

  it("is quick for an echo, unless that holds", () => {
    expect(laneOf(command({ case: "echo", value: { text: "x" } }))).toBe("quick");
    expect(laneOf(command({ case: "echo", value: { text: "x", holdMs: 1 } }))).toBe("slow");
    expect(laneOf(create(CommandSchema, {}))).toBe("slow");
  });
});
