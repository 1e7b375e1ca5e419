import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { instanceOfCgroup, instanceOfEnvironment } from "./instance-id.ts";

describe("instanceOfEnvironment", () => {
  it("takes the id from among other variables", () => {
    const environ = "PATH=/bin\0BERTH_INSTANCE_ID=llm-7.a_b\0HOME=/\0";
    expect(instanceOfEnvironment(environ)).toBe("llm-7.a_b");
  });

  it.each([
    "",
    "PATH=/bin",
    "XBERTH_INSTANCE_ID=a",
    "A=BERTH_INSTANCE_ID=a",
    "BERTH_INSTANCE_ID=",
    "BERTH_INSTANCE_ID=a b",
    "BERTH_INSTANCE_ID=../../x",
    `BERTH_INSTANCE_ID=${"x".repeat(129)}`,
  ])("finds none in %j", (environ) => {
    expect(instanceOfEnvironment(environ)).toBe("");
  });
});

describe("instanceOfCgroup", () => {
  it.each([
    ["0::/berth.slice/berth-instance-llm-7.scope", "llm-7"],
    ["0::/berth/berth-instance-llm-7/worker", "llm-7"],
    ["12:cpu:/x\n0::/berth-instance-outer/berth-instance-in.ner.service", "in.ner"],
  ])("takes the innermost id from %j", (cgroup, id) => {
    expect(instanceOfCgroup(cgroup)).toBe(id);
  });

  it.each([
    "",
    "0::/",
    "0::/user.slice/user-0.slice",
    "0::/kubepods.slice/kubepods-pod5d1b.slice/cri-containerd-77.scope",
    "0::/berth-instance-",
    "0::/berth-instance-a b",
  ])("finds none in %j", (cgroup) => {
    expect(instanceOfCgroup(cgroup)).toBe("");
  });
});

it("never throws and gives only ids of the right form", () => {
  const piece = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.constantFrom("BERTH_INSTANCE_ID=", "\0", "0::/", "berth-instance-", "/", ".scope", "\n"),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const text = pieces.join("");
      for (const id of [instanceOfEnvironment(text), instanceOfCgroup(text)]) {
        expect(id).toMatch(/^([A-Za-z0-9][A-Za-z0-9._-]{0,127})?$/);
      }
    }),
  );
});
