import { describe, expect, it } from "vitest";
import { checkRecordSize, MAX_RECORD_BYTES, recordBytes } from "./record-size.ts";

describe("checkRecordSize", () => {
  it("takes fields that have 64 KiB of JSON together, and no more", () => {
    const settings = { a: "é" };
    const room = MAX_RECORD_BYTES - Buffer.byteLength(JSON.stringify(settings));
    const full = { policy_settings: settings, description: "d".repeat(room - 2) };
    expect(recordBytes(full)).toBe(MAX_RECORD_BYTES);
    expect(() => checkRecordSize(full)).not.toThrow();
    expect(() => checkRecordSize({ ...full, metadata: {} })).toThrow(
      "description: it has 65526 bytes of JSON; all that is not code may have 65536 together, and has 65538",
    );
  });

  it("names the field that has most of it", () => {
    const metadata = { list: Array.from({ length: 30_000 }, () => ({})) };
    expect(() => checkRecordSize({ description: "d", tags: ["t"], metadata })).toThrow(
      "metadata: it has 90010 bytes of JSON",
    );
  });
});
