import { createServer, type Server, type ServerResponse } from "node:http";
import { FLEET_RESOURCES, type FleetResource, type FleetRow, rowId } from "../client/fleet-rows.ts";

interface Watcher {
  readonly resource: FleetResource;
  readonly response: ServerResponse;
}

/** Lists and watches of rows as a control-plane serves them, with rows of the test's choosing. */
export class FleetViewServer {
  /** Method-less: path and query of every request so far. */
  readonly seen: string[] = [];
  /** Answer to every request in place of the rows. */
  refusal: { status: number; text: string } | undefined;
  /** Rows in a page of a list. */
  pageSize = 10_000;
  readonly #server: Server;
  readonly #rows = new Map<FleetResource, readonly FleetRow[]>();
  readonly #watchers = new Set<Watcher>();
  #port = 0;

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request.url ?? "", response));
  }

  /** Address without a trailing slash. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Watches that are open. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** Listens: the second time on the same port. */
  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(this.#port, "127.0.0.1", resolve);
    await promise;
    const address = this.#server.address();
    this.#port = typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Ends all connections and listens no more. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  /** Sets the rows of a resource and tells its watchers what changed. */
  set(resource: FleetResource, rows: readonly FleetRow[]): void {
    const before = new Map(this.#list(resource).map((row) => [rowId(resource, row), row]));
    const now = new Map(rows.map((row) => [rowId(resource, row), row]));
    this.#rows.set(resource, rows);
    const changed = rows.filter((row) => {
      return JSON.stringify(before.get(rowId(resource, row))) !== JSON.stringify(row);
    });
    const removed = [...before.keys()].filter((id) => !now.has(id));
    this.say(resource, { type: "changes", changed, removed });
  }

  /** Sends a line to the watchers of a resource. */
  say(resource: FleetResource, line: unknown): void {
    const text = typeof line === "string" ? line : JSON.stringify(line);
    for (const watcher of this.#watchers) {
      if (watcher.resource === resource) watcher.response.write(`${text}\n`);
    }
  }

  /** Cuts the watches off. */
  cut(): void {
    for (const { response } of this.#watchers) response.destroy();
  }

  #list(resource: FleetResource): readonly FleetRow[] {
    return this.#rows.get(resource) ?? [];
  }

  #answer(target: string, response: ServerResponse): void {
    this.seen.push(target);
    if (this.refusal !== undefined) {
      response.writeHead(this.refusal.status).end(this.refusal.text);
      return;
    }
    const url = new URL(target, "http://fleet");
    const resource = FLEET_RESOURCES.find((name) => url.pathname.endsWith(`/${name}`));
    if (resource === undefined) response.writeHead(404).end("{}");
    else if (url.pathname.startsWith("/watch/")) this.#watch(resource, response);
    else response.end(JSON.stringify(this.#page(resource, url.searchParams)));
  }

  #page(resource: FleetResource, query: URLSearchParams) {
    const start = Number(query.get("after") ?? 0);
    const rows = this.#list(resource);
    const end = start + this.pageSize;
    const data = rows.slice(start, end);
    return { success: true, data, ...(end < rows.length ? { next: String(end) } : {}) };
  }

  #watch(resource: FleetResource, response: ServerResponse): void {
    const watcher = { resource, response };
    this.#watchers.add(watcher);
    response.on("close", () => this.#watchers.delete(watcher));
    response.writeHead(200, { "content-type": "application/x-ndjson; charset=utf-8" });
    const rows = this.#list(resource);
    response.write(`${JSON.stringify({ type: "snapshot", rows })}\n`);
  }
}

/** A cluster's row. */
export function clusterRow(over: FleetRow = {}): FleetRow {
  return {
    ...{ id: "c1", status: "live", simulated: false, region_id: "eu", nodes: 2, healthy_nodes: 2 },
    ...{ gpus: 16, free_gpus: 12, unhealthy_gpus: 0, gpu_utilization: 25 },
    ...{ total_cpu: 128, used_cpu: 12.8, total_memory: 524_288, used_memory: 131_072 },
    ...{ gpu_memory_total: 1_310_720, gpu_memory_used: 327_680, power: 3200, age_ms: 400 },
    ...over,
  };
}

/** A node's row. */
export function nodeRow(over: FleetRow = {}): FleetRow {
  return {
    ...{ cluster_id: "c1", id: "n1", status: "healthy", reason: null, simulated: false },
    ...{ quality: "measured", cpu_count: 64, cpu_utilization: 10, load_1m: 3.2 },
    ...{ memory_total: 262_144, memory_used: 65_536, gpus: 8, free_gpus: 6, unhealthy_gpus: 0 },
    ...{ gpu_utilization: 25, gpu_memory_total: 655_360, gpu_memory_used: 163_840 },
    ...{ models: ["NVIDIA H100"], power: 1600, max_temperature: 61, age_ms: 800 },
    ...over,
  };
}

/** A GPU's row. */
export function gpuRow(over: FleetRow = {}): FleetRow {
  return {
    ...{ cluster_id: "c1", node_id: "n1", id: "0", uuid: "GPU-1", model: "NVIDIA H100" },
    ...{ state: "free", health: null, reason: null, utilization: 37, memory_total: 81_920 },
    ...{ memory_used: 20_480, temperature: 54, power: 312.4, power_limit: 700, sm_clock: 1980 },
    ...{ throttle_reasons: [], processes: 2, instances: ["i1"], mig_devices: null },
    ...{ quality: "measured", age_ms: 900, simulated: false },
    ...over,
  };
}
