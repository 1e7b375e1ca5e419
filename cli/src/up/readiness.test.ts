import { describe, expect, it } from "vitest";
import type { Sighting } from "./look.ts";
import { judge } from "./readiness.ts";

const settings = { host: "127.0.0.1", httpPort: 8000, clusterId: "local" };
const node = { id: "n", cpuModel: undefined, cores: 1, memoryMiB: 1, gpuModels: [] };
const answered = (status: string, nodes = [node]) =>
  ({ kind: "answered", status: 200, cluster: { id: "local", status, nodes } }) as const;

describe("judge", () => {
  it.each<[string, Sighting, string[]]>([
    ["cluster-agent to start", answered("live"), ["cluster-agent"]],
    [
      "the control-plane to answer on http://127.0.0.1:8000 (ECONNREFUSED)",
      { kind: "silent", why: "ECONNREFUSED" },
      [],
    ],
    ["cluster local to join", { kind: "answered", status: 404 }, []],
    ["the control-plane to be ready (HTTP 503)", { kind: "answered", status: 503 }, []],
    ["cluster local to be live (it is unreachable)", answered("unreachable"), []],
    ["a node to join cluster local", answered("live", []), []],
    [
      "the policy sandbox (ENOSPC: no space left)",
      { ...answered("live"), sandboxFailure: "ENOSPC: no space left" },
      [],
    ],
  ])("waits for %s", (forWhat, sighting, notUp) => {
    expect(judge(sighting, notUp, settings)).toEqual({ kind: "waiting", forWhat });
  });

  it("is ready when all programs are up and the cluster is live with a node", () => {
    expect(judge(answered("live"), [], settings)).toMatchObject({ kind: "ready" });
  });
});
