import { setTimeout as delay } from "node:timers/promises";
import { cpuSeconds, rssMiB } from "../support/process-stats.ts";
import { BlockScene } from "./kubernetes/block-scene.ts";
import { BlockWatch, isApplied, isGone, isReady, wallMs } from "./kubernetes/block-watch.ts";
import { RawBlocks } from "./kubernetes/raw-blocks.ts";
import { type BenchOptions, compared, type Emit, median, quantile, rounded } from "./report.ts";

const SIZES = {
  ...{ nodes: 100, gpusPerNode: 8, blocks: 500, instances: 4 },
  ...{ turns: 104, idleMs: 60_000, settleMs: 10_000 },
};
const QUICK_SIZES = {
  ...{ nodes: 4, gpusPerNode: 8, blocks: 8, instances: 4 },
  ...{ turns: 8, idleMs: 1_000, settleMs: 500 },
};
const IN_FLIGHT = 8;
/** A quarter of a GPU: four instances share one. */
const RESOURCES = { gpus: 1, gpuMemoryMiB: 20_000, cpuMillis: 100, memoryMiB: 64 };
const IMAGE = "registry.test/berth/echo:1.0.0";

/** What the benchmark works with. */
interface Work {
  readonly emit: Emit;
  readonly sizes: typeof SIZES;
  readonly scene: BlockScene;
  readonly watch: BlockWatch;
}

/** How long objects took, ms. */
interface Times {
  readonly create: number[];
  readonly remove: number[];
}

/**
 * A cluster-agent on a real Kubernetes API with 100 nodes of 8 GPUs, filled to 500 blocks of 4 instances: what it uses when
 * nobody asks, and the time from the acceptance of a create until the root, Deployments and Services of a block are there
 * (of a remove: until they are gone, pods too), as a watch of the API server sees it that is not the agent's; against the same
 * objects applied without Berth.
 */
export async function kubernetesBlocksBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const sizes = quick ? QUICK_SIZES : SIZES;
  const scene = await BlockScene.start(sizes);
  const watch = new BlockWatch(scene.kubernetes, scene.namespace);
  try {
    const work = { emit, sizes, scene, watch };
    await fill(work);
    await idle(work);
    await compareOneByOne(work);
    await inFlight(work);
    emit({ figure: "rss, worked", value: rounded(rssMiB(scene.agentPid)), unit: "MiB" });
  } finally {
    watch.stop();
    await scene.stop();
  }
}

/** Creates the blocks that stay. */
async function fill({ emit, sizes, scene, watch }: Work): Promise<void> {
  const { blocks, instances } = sizes;
  const begunAtMs = wallMs();
  const ids = Array.from({ length: blocks }, (_, place) => blockId("fill", place));
  await together(ids, async (id) => {
    await create({ scene, id, instances });
  });
  emit({ figure: "fill, until all are applied", value: secondsSince(begunAtMs), unit: "s" });
  await Promise.all(ids.map((id) => watch.when(id, isReady(instances))));
  emit({ figure: "fill, until all are ready", value: secondsSince(begunAtMs), unit: "s" });
}

/** What the agent uses while nobody asks. */
async function idle({ emit, sizes, scene }: Work): Promise<void> {
  const { agentPid: pid, audit } = scene;
  await delay(sizes.settleMs);
  audit.newRequests();
  const before = cpuSeconds(pid);
  await delay(sizes.idleMs);
  const seconds = sizes.idleMs / 1_000;
  const share = ((cpuSeconds(pid) - before) / seconds) * 100;
  emit({ figure: "use of a core, idle", value: rounded(share), unit: "%" });
  emit({ figure: "rss, idle", value: rounded(rssMiB(pid)), unit: "MiB" });
  const rate = audit.newRequests().length / seconds;
  emit({ figure: "requests to the API server, idle", value: rounded(rate), unit: "/s" });
}

/** Blocks that come and go one at a time, through Berth and without, in turn. */
async function compareOneByOne(work: Work): Promise<void> {
  const { emit, sizes, scene } = work;
  const { instances, turns } = sizes;
  const copied = { namespace: scene.namespace, blockId: blockId("fill", 0) };
  const raw = await RawBlocks.copy(scene.kubernetes, copied);
  const byBerth: Times = { create: [], remove: [] };
  const bySelf: Times = { create: [], remove: [] };
  const single: Times = { create: [], remove: [] };
  const requests: number[] = [];
  for (let turn = 0; turn < turns; turn += 1) {
    await comeAndGo(work, { id: blockId("one", turn), instances, times: byBerth, requests });
    await comeAndGo(work, { id: blockId("lone", turn), instances: 1, times: single });
    await rawComeAndGo(work, { raw, id: blockId("raw", turn), times: bySelf });
  }
  raw.close();
  const name = `the same ${2 * instances + 1} objects applied without Berth, p50`;
  emitTimes(emit, `create of ${instances} instances`, byBerth.create, {
    ...{ name, value: median(bySelf.create) },
  });
  emitTimes(emit, `remove of ${instances} instances`, byBerth.remove, {
    ...{ name: "the same root deleted without Berth, p50", value: median(bySelf.remove) },
  });
  emitTimes(emit, "create of 1 instance", single.create);
  emitTimes(emit, "remove of 1 instance", single.remove);
  emit({ figure: "requests to the API server, per create", value: median(requests), unit: "" });
}

/** As many creates at once, then as many removes. */
async function inFlight(work: Work): Promise<void> {
  const { emit, sizes, scene, watch } = work;
  const { instances, turns } = sizes;
  const times: Times = { create: [], remove: [] };
  const ids = Array.from({ length: turns }, (_, turn) => blockId("many", turn));
  await together(ids, async (id) => {
    const applied = watch.when(id, isApplied(instances));
    const { acceptedAtMs } = await create({ scene, id, instances });
    times.create.push((await applied) - acceptedAtMs);
  });
  await Promise.all(ids.map((id) => watch.when(id, isReady(instances))));
  await together(ids, async (id) => {
    const gone = watch.when(id, isGone);
    const { acceptedAtMs } = await remove(scene, id);
    times.remove.push((await gone) - acceptedAtMs);
  });
  const how = `${IN_FLIGHT} in flight`;
  emitTimes(emit, `create of ${instances} instances, ${how}`, times.create);
  emitTimes(emit, `remove of ${instances} instances, ${how}`, times.remove);
}

async function comeAndGo(
  { scene, watch }: Work,
  given: {
    readonly id: string;
    readonly instances: number;
    readonly times: Times;
    readonly requests?: number[];
  },
): Promise<void> {
  const { id, instances, times, requests } = given;
  const applied = watch.when(id, isApplied(instances));
  scene.audit.newRequests();
  const created = await create({ scene, id, instances });
  const asked = scene.audit.newRequests().filter(({ resource }) => resource !== "leases");
  requests?.push(asked.length);
  times.create.push((await applied) - created.acceptedAtMs);
  await watch.when(id, isReady(instances));
  const gone = watch.when(id, isGone);
  const removed = await remove(scene, id);
  times.remove.push((await gone) - removed.acceptedAtMs);
}

async function rawComeAndGo(
  { sizes, watch }: Work,
  { raw, id, times }: { readonly raw: RawBlocks; readonly id: string; readonly times: Times },
): Promise<void> {
  const applied = watch.when(id, isApplied(sizes.instances));
  const begunAtMs = wallMs();
  await raw.create(id);
  times.create.push((await applied) - begunAtMs);
  await watch.when(id, isReady(sizes.instances));
  const gone = watch.when(id, isGone);
  const endedAtMs = wallMs();
  await raw.remove(id);
  times.remove.push((await gone) - endedAtMs);
}

function create(given: {
  readonly scene: BlockScene;
  readonly id: string;
  readonly instances: number;
}) {
  const { scene, id, instances } = given;
  const component = { containerRegistryInfo: { containerImage: IMAGE } };
  const counts = { minInstances: instances, maxInstances: instances };
  const block = { id, component, resources: RESOURCES, ...counts };
  return scene.act({ action: "create_block", block_data: block });
}

function remove(scene: BlockScene, id: string) {
  return scene.act({ action: "remove_block", block_id: id });
}

/** Works on all, as many at once as are in flight. */
async function together(ids: readonly string[], work: (id: string) => Promise<void>) {
  const waiting = ids[Symbol.iterator]();
  const loop = async () => {
    for (const id of waiting) await work(id);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
}

function emitTimes(
  emit: Emit,
  what: string,
  times: readonly number[],
  baseline?: { readonly name: string; readonly value: number },
): void {
  const runs = times.length;
  const p50 = { figure: `${what}, p50`, value: median(times), unit: "ms", runs };
  emit(baseline === undefined ? { ...p50, value: rounded(p50.value) } : compared(p50, baseline));
  for (const [name, p] of [["p90", 0.9] as const, ["p99", 0.99] as const]) {
    emit({ figure: `${what}, ${name}`, value: rounded(quantile(times, p)), unit: "ms" });
  }
}

/** Of the same length for all, so that names are as long. */
function blockId(kind: string, place: number): string {
  return `blk-${kind.padEnd(4, "x")}-${String(place).padStart(4, "0")}`;
}

function secondsSince(begunAtMs: number): number {
  return rounded((wallMs() - begunAtMs) / 1_000);
}
