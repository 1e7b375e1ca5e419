import { expect, it } from "vitest";
import { nextStep, revokedView, tokensView, tokenText } from "./token-views.ts";

it("shows the token alone", () => {
  expect(tokenText({ token: "berth1.x", id: "0" })).toBe("berth1.x\n");
});

it.each([
  [{ cluster_id: "berlin" }, "for cluster berlin,"],
  [{ max_uses: 1 }, "for the first cluster that uses it,"],
  [{ max_uses: 5 }, "for 5 clusters,"],
  [{ max_uses: 0 }, "for any number of clusters,"],
])("says of %j that it is %s", (data, words) => {
  expect(nextStep({ token: "berth1.x", ...data }, "cluster")).toContain(words);
});

it("says how to open the port when the token has no pin", () => {
  expect(nextStep({ token: "berth1.x" }, "cluster")).toContain("BERTH_AGENT_HOST opens the port");
  expect(nextStep({ token: "berth1.x.p" }, "cluster")).not.toContain("BERTH_AGENT_HOST");
});

it("names the port that the server told, or else the usual one", () => {
  const port = (data: object) => /_URL=\S+:(\d+)/.exec(nextStep(data, "node"))?.[1];
  expect(port({ token: "berth1.x", agent_port: 18_201 })).toBe("18201");
  expect(port({ token: "berth1.x" })).toBe("32001");
});

it("lists tokens with their uses and whom they are for", () => {
  const tokens = [
    { id: "a", cluster_id: "berlin", uses: 1, max_uses: 1, expires_at: "soon", label: "l" },
    { id: "b", node_id: "gpu-7", uses: 0, max_uses: 0, expires_at: "later", label: null },
  ];
  expect(tokensView(tokens).rows).toEqual([
    ["a", "berlin", "1/1", "soon", "l"],
    ["b", "gpu-7", "0/any", "later", "-"],
  ]);
  expect(tokensView(null).rows).toEqual([]);
});

it("confirms a revocation", () => {
  expect(revokedView({ id: "a" })).toBe("revoked a\n");
});
