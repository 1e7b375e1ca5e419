import { describe, expect, it } from "vitest";
import { changesNothing } from "./command-record.ts";

const call = (method: string, path: string, bodyJson = "") =>
  changesNothing({ kind: "call", method, path, bodyJson, bodyBytes: bodyJson.length });
const action = (bodyJson: string) => call("POST", "/executeAction", bodyJson);

describe("an order that changes nothing", () => {
  it("is one that reads, or a dry run", () => {
    expect(call("GET", "/cluster-actions/get-cluster")).toBe(true);
    expect(action('{"action":"dry_run","block_data":{"id":"b"}}')).toBe(true);
  });

  it("is no other one", () => {
    expect(changesNothing({ kind: "echo", text: "x", holdMs: 0 })).toBe(false);
    expect(call("DELETE", "/leases/l1")).toBe(false);
    expect(call("POST", "/leases", '{"action":"dry_run"}')).toBe(false);
    expect(action('{"action":"create_block","block_data":{"action":"dry_run"}}')).toBe(false);
    expect(action('{"action":"dry_run","data":{"action":"remove_block"}}')).toBe(false);
    expect(action('{"action":"dry_run","action":"remove_block"}')).toBe(false);
    for (const body of ["", "nonsense", "[]", "null"]) expect(action(body)).toBe(false);
  });
});
