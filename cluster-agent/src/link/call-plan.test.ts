import { describe, expect, it } from "vitest";
import { callPlan } from "./call-plan.ts";

const occasion = { commandId: "cmd-1", timeLeftMs: 30_000 };
const plan = (method: string, path: string, bodyJson?: string) =>
  callPlan({ method, path, ...(bodyJson === undefined ? {} : { bodyJson }) }, occasion);
const action = (bodyJson: string) => plan("POST", "/executeAction", bodyJson).request.bodyJson;

describe("the plan of a call", () => {
  it("gives an action the command's id as idempotency key, and leaves its own", () => {
    expect(action('{"action":"scale","wait":false}')).toBe(
      '{"action":"scale","wait":false,"idempotency_key":"cmd-1"}',
    );
    const own = '{"action":"scale","wait":false,"idempotency_key":"mine"}';
    expect(action(own)).toBe(own);
    const nested = '{"action":"scale","data":{"idempotency_key":"mine","wait":false}}';
    expect(action(nested)).toBe(nested);
  });

  it("leaves numbers as they were written", () => {
    expect(action('{"action":"a","wait":false,"n":10.0,"big":12345678901234567890}')).toBe(
      '{"action":"a","wait":false,"n":10.0,"big":12345678901234567890,"idempotency_key":"cmd-1"}',
    );
  });

  it("lets an action that waits answer before the command's time is over", () => {
    const timeout = (body: string) => JSON.parse(action(body) ?? "");
    expect(timeout('{"action":"a"}')).toMatchObject({ timeout_ms: 29_000 });
    expect(timeout('{"action":"a","timeout_ms":50000}')).toMatchObject({ timeout_ms: 29_000 });
    expect(timeout('{"action":"a","timeout_ms":500}')).toMatchObject({ timeout_ms: 500 });
    expect(timeout('{"action":"a","data":{"timeout_ms":50000}}')).toMatchObject({
      data: { timeout_ms: 29_000 },
    });
    expect(timeout('{"action":"a","wait":"yes"}').timeout_ms).toBeUndefined();
  });

  it("gives a lease the command's id unless it has one", () => {
    const lease = (body: string) => plan("POST", "/leases", body).request.bodyJson;
    expect(lease('{"subject":"s"}')).toBe('{"subject":"s","lease_id":"cmd-1"}');
    expect(lease("{}")).toBe('{"lease_id":"cmd-1"}');
    expect(lease('{"lease_id":"l"}')).toBe('{"lease_id":"l"}');
  });

  it("gives the removal of a node the command's id as idempotency key in its query", () => {
    const path = (given: string) => plan("DELETE", given).request.path;
    expect(path("/cluster-actions/remove-node/n1")).toBe(
      "/cluster-actions/remove-node/n1?idempotency_key=cmd-1",
    );
    expect(path("/controller/cluster-actions/remove-node/n1?force=true")).toBe(
      "/controller/cluster-actions/remove-node/n1?force=true&idempotency_key=cmd-1",
    );
    const own = "/cluster-actions/remove-node/n1?idempotency_key=mine";
    expect(path(own)).toBe(own);
  });

  it.each(["[1]", "nonsense", ""])("leaves a body that is no object to the API: %s", (body) => {
    expect(action(body)).toBe(body);
    expect(plan("POST", "/leases", body).request.bodyJson).toBe(body);
  });

  it.each([
    ["GET", "/blocks/b?x=1", undefined],
    ["DELETE", "/leases/l", undefined],
    ["POST", "/controller/executeAction", '{"action":"scale"}'],
    ["POST", "/executeAction/", '{"action":"scale"}'],
    ["POST", "/blocks/query?x", "{}"],
    ["POST", "/blocks/blocks/query", "{}"],
    ["PUT", "/block/update/b", '{"tags":["a"]}'],
    ["PUT", "/block/update/b", '{"$set":{"a":1},"$unset":{"b":1}}'],
    ["PUT", "/blocks/block/update/b/parameters", '{"parameters":{}}'],
    ["PATCH", "/cluster-actions/update-cluster", '{"reputation":97}'],
    ["POST", "/controller/cluster-actions/add-node", '{"id":"n1"}'],
    ["POST", "/cluster-actions/uncordon-node/n1", undefined],
  ])("may be made again: %s %s %s", (method, path, body) => {
    expect(plan(method, path, body).isRepeatable).toBe(true);
  });

  it.each([
    ["POST", "/leases/l/renew", "{}"],
    ["POST", "/operations/o/retry", undefined],
    ["PUT", "/block/update/b", '{"$inc":{"a":1}}'],
    ["PATCH", "/cluster-actions/update-cluster", '{"$push":{"tags":"a"}}'],
    ["POST", "/somewhere/executeAction", "{}"],
  ])("may not be made again: %s %s %s", (method, path, body) => {
    const { isRepeatable, request } = plan(method, path, body);
    expect(isRepeatable).toBe(false);
    expect(request).toEqual({ method, path, ...(body === undefined ? {} : { bodyJson: body }) });
  });
});
