import { allocationBench } from "./allocation.ts";
import { footprintBench } from "./footprint.ts";
import type { Emit } from "./report.ts";
import { workerStartBench } from "./worker-start.ts";

/**
 * `npm run bench [-- name …]`: runs the benchmarks one after the other and prints one JSON line per
 * figure. Nothing else should run on the machine meanwhile; compare figures of one run only.
 */
const BENCHES: Readonly<Record<string, (emit: Emit) => Promise<void>>> = {
  "worker-start": workerStartBench,
  footprint: footprintBench,
  allocation: allocationBench,
};

const wanted = process.argv.slice(2);
for (const name of wanted) {
  if (name in BENCHES) continue;
  console.error(`there is no benchmark ${name}; there are ${Object.keys(BENCHES).join(", ")}`);
  process.exit(2);
}
for (const [name, bench] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  await bench((figure) => console.log(JSON.stringify({ bench: name, ...figure })));
}
