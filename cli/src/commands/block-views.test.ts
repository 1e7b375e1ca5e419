import { describe, expect, it } from "vitest";
import { renderTable } from "../client/table.ts";
import {
  allocationDocument,
  blockDocument,
  leaseDocument,
  operationDocument,
} from "../testing/block-view-server.ts";
import { allocationsView, blocksView, blockView, leasesView } from "./block-views.ts";
import { decidedView, operationsView, operationView, stuckIds } from "./operation-views.ts";

const NOW_MS = Date.parse("2026-11-22T12:00:00Z");
const row = (text: string, number = 1) => (text.split("\n")[number] ?? "").split(/ {2,}/);

describe("blocks", () => {
  it("say how many of their instances are ready, and where they are", () => {
    const table = renderTable(blocksView([blockDocument()], NOW_MS));
    expect(row(table, 0)[0]).toBe("CLUSTER");
    expect(row(table)).toEqual([
      "c1",
      "echo",
      "running",
      "1/2",
      "2",
      "n1, n2",
      "model.echo:1.0.0-stable",
      "2h00m",
    ]);
  });

  it("say of a cluster that is silent that what is shown was told before", () => {
    const [cells] = blocksView([blockDocument({ live: false })], NOW_MS).rows;
    expect(cells?.[2]).toBe("running (cluster is silent)");
  });

  it("show one with each instance and why it is not ready", () => {
    const text = blockView(blockDocument(), NOW_MS);
    expect(text).toContain("ready      1/2 (at least 1, at most 4)\n");
    expect(text).toContain("created    2026-11-22T10:00:00.000Z (2h00m ago)\n");
    expect(text).toMatch(
      /in-a +n1 +GPU-4013ada4, GPU-89d0c1ff \(10\.0 GiB\) +running +yes +0 +http:\/\/127\.0\.0\.1:20001 +-\n/,
    );
    expect(text).toMatch(/in-b +n2 +- +restarting +no +3 +- +the program ended with exit code 3\n/);
  });

  it("show one as its agent describes it", () => {
    const instance = {
      ...{ instance_id: "in-a", node_id: "n1", gpus: [0, 3], gpu_uuids: ["GPU-1", "GPU-2"] },
      ...{ phase: "running", ready: true, restarts: 0, endpoints: { control: "http://h:1" } },
    };
    const described = {
      ...{ cluster_id: "c1", live: true, id: "echo", status: { phase: "running" } },
      ...{ instances: [instance], maxInstances: 2 },
    };
    const text = blockView(described, NOW_MS);
    expect(text).toMatch(/^block +echo\ncluster +c1\nphase +running\nready +1\/1 \(at most 2\)\n/);
    expect(text).toMatch(/in-a +n1 +0, 3 +running +yes +0 +http:\/\/h:1 +-\n/);
    expect(text).not.toContain("created");
  });

  it("show one without bounds or instances, and without controls of the terminal", () => {
    const bare = { block_id: "a\u001b[2J", cluster_id: "c1", phase: "creating", instances: [] };
    const text = blockView(bare, NOW_MS);
    expect(text).toContain("block      a�[2J\n");
    expect(text).toContain("0/0 (any number)");
    expect(text).not.toContain("INSTANCE");
  });
});

describe("what is held", () => {
  it.each([
    [{}, "committed"],
    [{ orphan: true }, "orphan"],
    [{ state: "quarantined" }, "quarantined"],
    [{ state: "quarantined", orphan: true }, "orphan, quarantined"],
  ])("says by whom, what, in which state and since when: %j", (over, state) => {
    const document = allocationDocument({ ...over, note: "not seen" });
    expect(row(renderTable(allocationsView([document], NOW_MS)))).toEqual([
      "c1",
      "n1",
      "echo",
      "in-a",
      "GPU-4013ada4",
      "1.5",
      "2.0 GiB",
      "-",
      state,
      "2h00m",
      "not seen",
    ]);
  });

  it("says of leases whose they are and when they end", () => {
    const table = renderTable(leasesView([leaseDocument(), leaseDocument({ void: "rebooted" })]));
    expect(row(table)).toEqual([
      "c1",
      "le-1",
      "n1",
      "GPU-4013ada4",
      "0",
      "-",
      "1.0 GiB",
      "gateway",
      "25s",
      "2",
      "1m05s",
      "-",
    ]);
    expect(row(table, 2).at(-1)).toBe("void: rebooted");
  });
});

describe("operations", () => {
  it("are listed with their progress and what went wrong", () => {
    const table = renderTable(operationsView([operationDocument()], NOW_MS));
    expect(row(table)).toEqual([
      "op-1",
      "c1",
      "echo",
      "scale",
      "stuck",
      "undoing: no answer",
      "1/3",
      "2h00m",
      "no place",
    ]);
    const long = operationDocument({ error: { reason: "CONFLICT", message: "x".repeat(500) } });
    expect(operationsView([long], NOW_MS).rows[0]?.at(-1)).toHaveLength(100);
  });

  it("are shown with error, progress and times", () => {
    const text = operationView(operationDocument(), NOW_MS);
    expect(text).toContain("state      stuck: nothing else is done to its block before");
    expect(text).toContain("progress   1/3\n");
    expect(text).toContain("begun      2026-11-22T10:00:00.000Z (2h00m ago)\n");
    expect(text).toContain("took       -\n");
    expect(text).toContain("error      CONFLICT: no place\n");
    expect(text).toContain('details    {"reasons":["n1 is full"]}\n');
  });

  it("are shown with how long they took and what they came to when they are over", () => {
    const { error: _none, ...rest } = operationDocument({ state: "done", step: "done" });
    const over = { ...rest, result: { "in-a": { success: true } }, idempotency_key: "k" };
    const text = operationView(over, NOW_MS);
    expect(text).toContain("took       3m10s\n");
    expect(text).toContain("key        k\n");
    expect(text).toContain('result     {"in-a":{"success":true}}\n');
    expect(text).not.toContain("error");
  });

  it("that are stuck are known by id, and told of when somebody has decided", () => {
    const all = [operationDocument(), operationDocument({ operation_id: "op-2", state: "done" })];
    expect(stuckIds(all)).toEqual(["op-1"]);
    expect(stuckIds(null)).toEqual([]);
    expect(decidedView(operationDocument({ state: "running" }))).toBe(
      "operation op-1 of block echo is running\n",
    );
  });
});

it.each([null, {}, "text", [null, 7, {}]])("takes any answer: %j", (data) => {
  expect(blocksView(data, NOW_MS).columns).toHaveLength(8);
  expect(allocationsView(data, NOW_MS).columns).toHaveLength(11);
  expect(leasesView(data).columns).toHaveLength(12);
  expect(operationsView(data, NOW_MS).columns).toHaveLength(9);
  expect(blockView(data, NOW_MS)).toContain("block");
  expect(operationView(data, NOW_MS)).toContain("operation");
});
