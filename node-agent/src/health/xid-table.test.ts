import { HealthClass } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { sxidClass, xidClass } from "./xid-table.ts";

describe("xidClass", () => {
  it.each([13, 31, 43, 45, 68, 69, 94])("takes XID %i for a program's fault", (code) => {
    expect(xidClass(code, "")).toBe(HealthClass.APPLICATION);
  });

  it.each([46, 62, 95, 109, 119, 120, 140])("asks for a reset after XID %i", (code) => {
    expect(xidClass(code, "")).toBe(HealthClass.RESET);
  });

  it.each([48, 64, 74, 79])("takes the GPU of XID %i for broken", (code) => {
    expect(xidClass(code, "")).toBe(HealthClass.HARDWARE);
  });

  it.each([63, 92])("only tells of XID %i", (code) => {
    expect(xidClass(code, "")).toBe(HealthClass.INFO);
  });

  it.each([0, 1, 999, 99_999])("reports code %i, which the table does not have", (code) => {
    expect(xidClass(code, "NVRM: Xid")).toBe(HealthClass.APPLICATION);
  });

  it("asks for a reset after an NVLink 5 error only when it says that it is fatal", () => {
    expect(xidClass(149, "149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 08")).toBe(HealthClass.RESET);
    expect(xidClass(145, "145, RLW_REMAP Nonfatal XC1 i0 Link 13")).toBe(HealthClass.INFO);
    expect(xidClass(145, "145, RLW_REMAP Non-fatal XC1 i0 Link 13")).toBe(HealthClass.INFO);
  });

  it("follows the recovery action that XID 154 names", () => {
    const changed = "154, GPU recovery action changed from";
    const required = `${changed} 0x0 (None) to 0x1 (GPU Reset Required)`;
    expect(xidClass(154, required)).toBe(HealthClass.RESET);
    expect(xidClass(154, `${changed} 0x1 (GPU Reset Required) to 0x0 (None)`)).toBe(
      HealthClass.INFO,
    );
  });
});

it("sxidClass asks for a reset after a fatal SXid", () => {
  expect(sxidClass(true)).toBe(HealthClass.RESET);
  expect(sxidClass(false)).toBe(HealthClass.INFO);
});
