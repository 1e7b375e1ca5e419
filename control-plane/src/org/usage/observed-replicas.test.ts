import { describe, expect, it } from "vitest";
import type { ClusterBlocks } from "../../fleet/agent-api.ts";
import { clusterBlocks } from "../../testing/org-fixture.ts";
import type { Quota } from "../quotas/quota.ts";
import { observedReplicas } from "./observed-replicas.ts";

const now = "2026-01-01T00:00:00.000Z";
const quotaOf = (profile: object): Quota => ({
  ...{ quotaId: "q", subjectId: "s", allocationInfo: JSON.stringify(profile), replicas: 2 },
  ...{ createdAt: now, updatedAt: now },
});

function seen(
  profile: object,
  told: readonly ClusterBlocks[],
  { isWhole = true, reportedAtMs = () => 8_000 as number | undefined } = {},
) {
  const blocks = {
    all: () => told,
    withBlock: (id: string) => told.filter((one) => one.blocks.has(id)),
  };
  const scene = { blocks, isWhole, reportedAtMs, reported: undefined, nowMs: 10_000 };
  return observedReplicas(quotaOf(profile), scene);
}

const has = (clusterId: string) => clusterBlocks(clusterId, { b: { ready: 1, instances: 2 } });
const lacks = (clusterId: string) => clusterBlocks(clusterId, {});
const away = (one: ClusterBlocks): ClusterBlocks => ({ ...one, isLive: false });

describe("replicas of a quota's block", () => {
  it("are its ready instances", () => {
    expect(seen({ block_id: "b" }, [has("m"), lacks("n")])).toEqual({ replicas: 1, ageSeconds: 2 });
  });

  it("are none where no cluster has it, as when it was removed by hand", () => {
    const none = { replicas: 0, ageSeconds: 2 };
    expect(seen({ block_id: "b" }, [lacks("m"), lacks("n")])).toEqual(none);
    expect(seen({ block_id: "b" }, [lacks("m"), away(lacks("n"))])).toEqual(none);
    expect(seen({ block_id: "b", cluster_id: "n" }, [has("m"), lacks("n")])).toEqual(none);
  });

  it.each([
    ["no cluster is heard", { block_id: "b" }, []],
    ["its cluster is away", { block_id: "b", cluster_id: "m" }, [away(lacks("m")), lacks("n")]],
    ["it has none", {}, [has("m")]],
  ])("are not known where %s", (_, profile, told) => {
    expect(seen(profile, told)).toBeUndefined();
  });

  it("are not known where a cluster that may have it was not heard yet", () => {
    expect(seen({ block_id: "b" }, [lacks("m")], { isWhole: false })).toBeUndefined();
    expect(
      seen({ block_id: "b" }, [lacks("m")], { reportedAtMs: () => undefined }),
    ).toBeUndefined();
  });
});
