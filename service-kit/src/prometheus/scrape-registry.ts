import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import { Metric } from "prom-client/lib/metric.js";
import Registry from "prom-client/lib/registry.js";

/** One value of a family with its labels. */
export interface Observation {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A family of values as Prometheus knows it. */
export interface MetricFamily {
  /** snake_case with the unit at its end; a counter ends in `_total`: "berth_gpu_memory_used_bytes". */
  readonly name: string;
  readonly help: string;
  /** A counter only rises while the process lives. */
  readonly type: "gauge" | "counter";
  /** Names of the labels that its values carry. */
  readonly labels?: readonly string[];
  /** Values at this moment; called at each scrape. */
  readonly observe: () => Iterable<Observation>;
}

/** How the values of a family are spread, counted since the start. */
export interface Distribution {
  /** Upper bounds of the buckets, rising. */
  readonly bounds: readonly number[];
  /** Values up to each bound and above the one before; at last those above all bounds. */
  readonly counts: readonly number[];
  /** Sum of all values. */
  readonly sum: number;
}

/** A histogram as Prometheus knows it, without labels of its own. */
export interface HistogramFamily {
  /** snake_case with the unit at its end: "berth_allocation_seconds". */
  readonly name: string;
  readonly help: string;
  /** Values at this moment; called at each scrape. */
  readonly observe: () => Distribution;
}

/** Who is scraped. */
export interface ScrapedProgram {
  /** "cluster-agent". */
  readonly program: string;
  /** "0.1.0". */
  readonly version: string;
  /** What the process uses; `process` fits. */
  readonly usage: {
    cpuUsage(): { readonly user: number; readonly system: number };
    memoryUsage: { rss(): number };
    uptime(): number;
  };
}

const MICROSECONDS = 1_000_000;

/**
 * What `GET /metrics` of a program answers, in the text format of Prometheus. Families are read when they
 * are scraped; nothing is kept or counted in between.
 */
export class ScrapeRegistry {
  readonly #registry = new Registry();
  readonly #names: string[] = [];

  /** Begins with what every program tells: its build, and the CPU, the memory and the age of its process. */
  constructor({ program, version, usage }: ScrapedProgram) {
    this.add({
      name: "berth_build_info",
      help: "Always 1; the labels say which program and version this is.",
      type: "gauge",
      labels: ["program", "version"],
      observe: () => [{ value: 1, labels: { program, version } }],
    });
    this.add({
      name: "process_cpu_seconds_total",
      help: "CPU time that the process has used, in seconds.",
      type: "counter",
      observe: () => {
        const { user, system } = usage.cpuUsage();
        return [{ value: (user + system) / MICROSECONDS }];
      },
    });
    this.add({
      name: "process_resident_memory_bytes",
      help: "Resident memory of the process, in bytes.",
      type: "gauge",
      observe: () => [{ value: usage.memoryUsage.rss() }],
    });
    this.add({
      name: "process_uptime_seconds",
      help: "Time since the process started, in seconds.",
      type: "gauge",
      observe: () => [{ value: usage.uptime() }],
    });
  }

  /** Adds families; throws when a name is taken. Values that are not finite are left out. */
  add(...families: readonly MetricFamily[]): void {
    for (const family of families) this.#add(family);
  }

  /** Adds a histogram; throws when its name is taken. */
  addHistogram(family: HistogramFamily): void {
    new ReadHistogram(family, this.#registry);
    this.#names.push(family.name);
  }

  /** Media type of {@link text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All families as they are now, without those that have no value. */
  async text(): Promise<string> {
    const texts = this.#names.map((name) => this.#registry.getSingleMetricAsString(name));
    const told = (await Promise.all(texts)).filter((text) => text.split("\n", 3).length > 2);
    return `${told.join("\n\n")}\n`;
  }

  #add(family: MetricFamily): void {
    this.#register(family);
    this.#names.push(family.name);
  }

  #register({ name, help, type, labels = [], observe }: MetricFamily): void {
    const own = { name, help, labelNames: [...labels], registers: [this.#registry] };
    // `reset` leaves a 0 in a family without labels, which nobody has observed: it is removed.
    const finite = () => [...observe()].filter(({ value }) => Number.isFinite(value));
    if (type === "gauge") {
      new Gauge({
        ...own,
        collect() {
          this.reset();
          if (labels.length === 0) this.remove();
          for (const { value, labels: of = {} } of finite()) this.set({ ...of }, value);
        },
      });
      return;
    }
    new Counter({
      ...own,
      collect() {
        this.reset();
        if (labels.length === 0) this.remove();
        for (const { value, labels: of = {} } of finite()) this.inc({ ...of }, value);
      },
    });
  }
}

/** A histogram whose values somebody else counts: read like the other families. */
class ReadHistogram extends Metric {
  readonly type = "histogram";
  readonly #observe: () => Distribution;

  constructor({ name, help, observe }: HistogramFamily, registry: Registry) {
    super({ name, help, registers: [registry] });
    this.#observe = observe;
  }

  /** What the registry makes its text from. */
  async get() {
    const { name, help, type } = this;
    const { bounds, counts, sum } = this.#observe();
    let count = 0;
    const buckets = counts.map((more, index) => {
      count += more;
      const le = index < bounds.length ? String(bounds[index]) : "+Inf";
      return { metricName: `${name}_bucket`, labels: { le }, value: count };
    });
    const sums = [
      { metricName: `${name}_sum`, labels: {}, value: sum },
      { metricName: `${name}_count`, labels: {}, value: count },
    ];
    return { name, help, type, values: [...buckets, ...sums] };
  }
}
