import { describe, expect, it } from "vitest";
import { aView } from "../testing/documents.ts";
import { ResidentCatalog } from "./resident-catalog.ts";

describe("ResidentCatalog", () => {
  it("keeps a part's version until its text changes", () => {
    const catalog = new ResidentCatalog();
    const view = aView("c1");
    const [first] = catalog.members([view]).documents;
    const [second] = catalog.members([{ ...view, revision: 2, metricsJson: "{}" }]).documents;
    expect(second?.parts.data).toBe(first?.parts.data);
    expect(second?.parts.metrics?.version).not.toBe(first?.parts.metrics?.version);
  });

  it("never gives one version to two texts, also not when a text comes back", () => {
    const catalog = new ResidentCatalog();
    const versions = ["{}", "[]", "{}"].map((documentJson) => {
      const [document] = catalog.list([{ ...aView("c1"), documentJson }]).documents;
      return document?.parts.data?.version;
    });
    expect(new Set(versions).size).toBe(3);
  });

  it("keeps clusters of two orgs apart, and null for metrics that nobody reported", () => {
    const catalog = new ResidentCatalog();
    const ours = { ...aView("c1"), metricsJson: null };
    const theirs = { ...aView("c1"), orgId: "another", metricsJson: null };
    const [a, b] = catalog.members([ours, theirs]).documents;
    expect(a?.parts.metrics?.json).toBe("null");
    expect(a?.parts.data?.version).not.toBe(b?.parts.data?.version);
  });

  it("gives a ranking policy the list of cluster documents", () => {
    expect(new ResidentCatalog().list([aView("c1")]).shape).toEqual({ kind: "list", part: "data" });
  });
});
