import { BerthError } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { type ReadinessParts, readiness } from "./readiness.ts";

const sandbox = { snapshot: "ready", workers: 1, running: 0, slow: 0, queued: 0 } as const;
const well: ReadinessParts = {
  store: { storeId: async () => "id" },
  decisions: { failure: undefined },
  org: { failure: undefined },
  ...{ sandbox, version: "1", mirror: undefined },
  bus: { driver: "in_process", isConnected: true },
};
const damaged = {
  storeId: async () => Promise.reject(new BerthError("UNAVAILABLE", "it is damaged")),
};

describe("readiness", () => {
  it("is given when the store answers and policies can run", async () => {
    const parts = { version: "1", store: "ready", sandbox, bus: "ready", mirror: "none" };
    expect(await readiness(well)).toEqual({ ready: true, parts });
    const building = { ...sandbox, snapshot: "building" } as const;
    expect(await readiness({ ...well, sandbox: building })).toMatchObject({ ready: false });
  });

  it("is not given when the store does not answer, and says why", async () => {
    expect(await readiness({ ...well, store: damaged })).toMatchObject({
      ready: false,
      parts: { store: "it is damaged" },
    });
  });

  it("is given while bus and mirror are away, and says what is wrong with them", async () => {
    const bus = { driver: "nats", isConnected: false, why: "no connection yet" } as const;
    const mirror = { driver: "redis", isConnected: true, pending: 3, why: "it is behind" } as const;
    expect(await readiness({ ...well, bus, mirror })).toMatchObject({
      ready: true,
      parts: { bus: "no connection yet", mirror: "it is behind" },
    });
  });

  it("does not say of a store that it is ready while decisions cannot be written", async () => {
    const decisions = { failure: "full" };
    expect(await readiness({ ...well, decisions })).toMatchObject({
      ready: true,
      parts: { store: "decisions cannot be written: full" },
    });
    expect(await readiness({ ...well, decisions, org: { failure: "full" } })).toMatchObject({
      ready: true,
      parts: { store: "the org cannot be written: full; decisions cannot be written: full" },
    });
  });
});
