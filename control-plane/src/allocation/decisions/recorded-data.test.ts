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

  it("tells how many clusters it does not name", () => {
    const data = Array.from({ length: 5_000 }, (_, n) => placed(n));
    const { data_cut } = recordedData(data);
    const named = data_cut?.cluster_ids.length ?? 0;
    expect(bytesOf(data_cut?.cluster_ids)).toBeLessThanOrEqual(LIMIT);
    expect(named + (data_cut?.cluster_ids_more ?? 0)).toBe(5_000);
  });
});
