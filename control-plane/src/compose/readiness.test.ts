import { BerthError } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { readiness } from "./readiness.ts";

const sandbox = { snapshot: "ready", workers: 1, running: 0, slow: 0, queued: 0 } as const;
const well = {
  store: { storeId: async () => "id" },
  decisions: { failure: undefined },
  ...{ sandbox, version: "1" },
};
const damaged = {
  storeId: async () => Promise.reject(new BerthError("UNAVAILABLE", "it is damaged")),
};

describe("readiness", () => {
  it("is given when the store answers and policies can run", async () => {
    const parts = { version: "1", store: "ready", sandbox };
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

  it("does not say of a store that it is ready while decisions cannot be written", async () => {
    expect(await readiness({ ...well, decisions: { failure: "no space left" } })).toMatchObject({
      ready: true,
      parts: { store: "decisions cannot be written: no space left" },
    });
  });
});
