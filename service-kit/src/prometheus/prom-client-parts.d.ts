// WHY: the entry of prom-client also loads default metrics, histograms, summaries, the push gateway and the
// gathering from worker processes, which nobody here uses: 11 MiB of resident memory where its three parts take 1.
// The parts have no types of their own; these say that each file is what the entry exports under its name.

declare module "prom-client/lib/registry.js" {
  import { Registry } from "prom-client";
  export = Registry;
}

declare module "prom-client/lib/gauge.js" {
  import { Gauge } from "prom-client";
  export = Gauge;
}

declare module "prom-client/lib/counter.js" {
  import { Counter } from "prom-client";
  export = Counter;
}
