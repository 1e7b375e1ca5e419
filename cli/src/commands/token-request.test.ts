import { describe, expect, it } from "vitest";
import { tokenBody } from "./token-request.ts";

const defaults = { ttl: "24h", uses: "1" };

describe("tokenBody", () => {
  it.each([
    ["90s", 90],
    ["30m", 1_800],
    ["24h", 86_400],
    ["90d", 7_776_000],
  ])("reads the time %s as %d s", (ttl, seconds) => {
    expect(tokenBody({ ...defaults, ttl })).toEqual({ ttl_s: seconds, max_uses: 1 });
  });

  it.each(["", "0s", "24", "1.5h", "-1h", "91d", "1y", "99999999d", "1h30m"])(
    "refuses the time %j",
    (ttl) => {
      expect(() => tokenBody({ ...defaults, ttl })).toThrow(
        `--ttl ${JSON.stringify(ttl)}: expected`,
      );
    },
  );

  it.each(["", "-1", "1.5", "10001", "x", "1e3"])("refuses %j uses", (uses) => {
    expect(() => tokenBody({ ...defaults, uses })).toThrow(
      `--uses ${JSON.stringify(uses)}: expected`,
    );
  });

  it("names the cluster, or the node when one is given, never both", () => {
    expect(tokenBody({ ...defaults, cluster: "berlin", label: "x" })).toMatchObject({
      cluster_id: "berlin",
      label: "x",
    });
    expect(tokenBody({ ...defaults, node: "gpu-7", uses: "0" })).toMatchObject({
      node_id: "gpu-7",
      max_uses: 0,
    });
    expect(tokenBody({ ...defaults, node: true })).not.toHaveProperty("node_id");
    expect(() => tokenBody({ ...defaults, node: true, cluster: "a" })).toThrow(
      "exclude each other",
    );
  });
});
