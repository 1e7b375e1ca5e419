import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
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

  /** Media type of {@link text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All families as they are now. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #add({ name, help, type, labels = [], observe }: MetricFamily): void {
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
