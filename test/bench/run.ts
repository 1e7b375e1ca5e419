import { allocationBench } from "./allocation.ts";
import { autoscalerBench } from "./autoscaler.ts";
import { clusterBlocksBench } from "./cluster-blocks.ts";
import { clusterQueryBench } from "./cluster-query.ts";
import { fleetDecisionsBench } from "./fleet-decisions.ts";
import { footprintBench } from "./footprint.ts";
import { headOfLineBench } from "./head-of-line.ts";
import { kubernetesBlocksBench } from "./kubernetes-blocks.ts";
import { ledgerBench } from "./ledger.ts";
import { linksBench } from "./links.ts";
import { orgFeedBench } from "./org-feed.ts";
import { orgScalingBench } from "./org-scaling.ts";
import { orgWritesBench } from "./org-writes.ts";
import type { Bench } from "./report.ts";
import { simulatedFleetBench } from "./simulated-fleet.ts";
import { socketsBench } from "./sockets.ts";
import { workerStartBench } from "./worker-start.ts";

/**
 * `npm run bench [-- name …] [-- --quick]`: runs the benchmarks one after the other and prints one JSON
 * line per figure. Nothing else should run on the machine meanwhile; compare figures of one run only.
 * `--quick` runs them small and short, to see that they work; its figures mean nothing.
 */
const BENCHES: Readonly<Record<string, Bench>> = {
  "worker-start": workerStartBench,
  footprint: footprintBench,
  allocation: allocationBench,
  "fleet-decisions": fleetDecisionsBench,
  "cluster-query": clusterQueryBench,
  "cluster-blocks": clusterBlocksBench,
  "kubernetes-blocks": kubernetesBlocksBench,
  ledger: ledgerBench,
  "head-of-line": headOfLineBench,
  links: linksBench,
  sockets: socketsBench,
  "simulated-fleet": simulatedFleetBench,
  autoscaler: autoscalerBench,
  "org-scaling": orgScalingBench,
  "org-feed": orgFeedBench,
  "org-writes": orgWritesBench,
};

const quick = process.argv.includes("--quick");
const wanted = process.argv.slice(2).filter((argument) => argument !== "--quick");
for (const name of wanted) {
  if (name in BENCHES) continue;
  console.error(`there is no benchmark ${name}; there are ${Object.keys(BENCHES).join(", ")}`);
  process.exit(2);
}
for (const [name, bench] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  await bench((figure) => console.log(JSON.stringify({ bench: name, ...figure })), { quick });
}
