import { afterEach, expect, it } from "vitest";
import { type BlockRecord, blockRecord } from "../blocks/block-records.ts";
import { Cleanup } from "../testing/agent.ts";
import { startBlockAgent } from "../testing/block-agent.ts";
import { entryOf } from "../testing/block-fixtures.ts";
import type { ClaimGroup } from "./pending-claims.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function twoGpus(): BlockRecord {
  const about = { phase: "creating", operationId: "", createdAt: "", updatedAt: "" } as const;
  return blockRecord(entryOf("b", { resources: { gpus: 2 } }), about);
}

it("leaves what others have just chosen alone until their group ends, and counts its own once", async () => {
  const { placer } = (await startBlockAgent(cleanup)).blocks;
  const place = (group: ClaimGroup) =>
    placer.place({ block: twoGpus(), besides: [], excluded: new Set(), group });
  const [first, second, third] = [1, 2, 3].map(() => placer.pending.begin()) as ClaimGroup[];
  const gpusOf = (group: ClaimGroup | undefined) => {
    const placement = place(group as ClaimGroup);
    return placement.kind === "placed" ? placement.claim.devices.map(({ uuid }) => uuid) : [];
  };
  expect(gpusOf(first)).toEqual(["GPU-0", "GPU-1"]);
  expect(gpusOf(second)).toEqual(["GPU-2", "GPU-3"]);
  expect(gpusOf(third)).toEqual([]);
  first?.end();
  expect(gpusOf(third)).toEqual(["GPU-0", "GPU-1"]);
});
