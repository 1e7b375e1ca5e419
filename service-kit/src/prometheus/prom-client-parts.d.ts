// WHY: the entry of prom-client also loads default metrics, histograms, summaries, the push gateway and the
// gathering from worker processes, which nobody here uses: 11 MiB of resident memory where its parts take 1.
// The parts have no types of their own; these say that each file is what the entry exports under its name. The base
// of all families is not exported there.

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

declare module "prom-client/lib/metric.js" {
  import type { Registry } from "prom-client";

  /** Checks the name, and registers itself; `get` of the derived class is called at each scrape. */
  export abstract class Metric {
    readonly name: string;
    readonly help: string;
    constructor(config: {
      readonly name: string;
      readonly help: string;
      readonly registers: readonly Registry[];
    });
  }
}
