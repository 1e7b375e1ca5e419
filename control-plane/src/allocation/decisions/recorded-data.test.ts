import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { recordedData } from "./recorded-data.ts";

const LIMIT = 16 * 1024;
const bytesOf = (data: unknown) => Buffer.byteLength(JSON.stringify(data));
const digestOf = (data: unknown) => createHash("sha256").update(JSON.stringify(data)).digest("hex");
const placed = (cluster: number) => ({ cluster_id: `c${cluster}`, node_id: "n", gpus: ["0", "1"] });

describe("recordedData", () => {
  it.each([
    null,
    placed(1),
    [placed(1), placed(2)],
    { cluster_id: "c1", text: "x".repeat(10_000) },
  ])("keeps what is small as it is", (data) => {
    expect(recordedData(data)).toEqual({ data });
  });

  it("keeps the first placements of a long list, and which clusters all of them are in", () => {
    const data = Array.from({ length: 1_000 }, (_, n) => placed(n % 7));
    const { data: kept, data_cut } = recordedData(data);
    expect(bytesOf(kept)).toBeLessThanOrEqual(LIMIT);
    expect(bytesOf(kept)).toBeGreaterThan(LIMIT - 100);
    expect(kept).toEqual(data.slice(0, (kept as []).length));
    expect(data_cut).toEqual({
      ...{ bytes: bytesOf(data), sha256: digestOf(data) },
      cluster_ids: ["c0", "c1", "c2", "c3", "c4", "c5", "c6"],
      cluster_ids_more: 0,
    });
  });

  it("keeps of one large placement what it places, and drops what the policy adds", () => {
    const data = { ...placed(1), text: "é".repeat(9_000) };
    const { data: kept, data_cut } = recordedData(data);
    expect(kept).toEqual(placed(1));
    expect(data_cut).toMatchObject({ bytes: bytesOf(data), cluster_ids: ["c1"] });
    expect(recordedData([data, placed(2)]).data).toEqual([placed(1), placed(2)]);
  });

  it("keeps the first GPUs of a placement that has many, and the first reasons of one that does not fit", () => {
    const gpus = Array.from({ length: 20_000 }, (_, n) => String(n));
    const { data: kept } = recordedData({ ...placed(1), gpus });
    expect(bytesOf(kept)).toBeLessThanOrEqual(LIMIT);
    expect((kept as { gpus: string[] }).gpus[500]).toBe("500");
    const reasons = ["full", "x".repeat(100_000)];
    const none = { cluster_id: null, unschedulable: true, reasons };
    expect(recordedData(none).data).toEqual({ ...none, reasons: ["full"] });
  });

  it.each<[string, object, object]>([
    ["a long name", { node_id: "x".repeat(900_000) }, {}],
    ["a name that is no text", { node_id: { a: "x".repeat(900_000) } }, {}],
    ["GPUs that are no list", { gpus: { a: "x".repeat(900_000) } }, {}],
    ["reasons that are no list", { reasons: "x".repeat(900_000) }, {}],
    ["a mark that is none", { unschedulable: "x".repeat(900_000) }, {}],
    ["one large GPU behind a small one", { gpus: ["0", "x".repeat(900_000)] }, { gpus: ["0"] }],
  ])("does not keep %s of a placement that is too large", (_name, part, kept) => {
    const data = { cluster_id: "c1", ...part };
    expect(recordedData(data).data).toEqual({ cluster_id: "c1", ...kept });
    expect(recordedData([data, placed(2)]).data).toEqual([
      { cluster_id: "c1", ...kept },
      placed(2),
    ]);
  });

  it("holds no more than its limit of a placement whose every part is as large as can be", () => {
    const name = "\u0001".repeat(253);
    const list = Array.from({ length: 100_000 }, (_, n) => `\u0001${n}`);
    const data = {
      cluster_id: name,
      node_id: name,
      gpus: list,
      unschedulable: true,
      reasons: list,
    };
    const { data: kept } = recordedData(data);
    expect(kept).toMatchObject({ cluster_id: name, node_id: name, unschedulable: true });
    expect(bytesOf(kept)).toBeLessThanOrEqual(LIMIT);
    expect(bytesOf(recordedData([data, data, data]).data)).toBeLessThanOrEqual(LIMIT);
  });

  it("keeps that nothing fits, whatever the policy adds", () => {
    const none = { cluster_id: null, unschedulable: true, reasons: ["full"] };
    const data = { ...none, node_id: "x".repeat(900_000), gpus: { a: "x".repeat(900_000) } };
    expect(recordedData(data).data).toEqual(none);
  });

  it("tells how many clusters it does not name", () => {
    const data = Array.from({ length: 5_000 }, (_, n) => placed(n));
    const { data_cut } = recordedData(data);
    const named = data_cut?.cluster_ids.length ?? 0;
    expect(bytesOf(data_cut?.cluster_ids)).toBeLessThanOrEqual(LIMIT);
    expect(named + (data_cut?.cluster_ids_more ?? 0)).toBe(5_000);
  });
});
