import { createServer, type Server } from "node:http";

/** Anything that a control-plane answers with. */
type Document = Readonly<Record<string, unknown>>;

/** Blocks, what they hold and operations as a control-plane serves them, with documents of the test's choosing. */
export class BlockViewServer {
  /** Method, path and query of every request so far. */
  readonly seen: string[] = [];
  blocks: readonly Document[] = [];
  allocations: readonly Document[] = [];
  leases: readonly Document[] = [];
  operations: readonly Document[] = [];
  /** Beside the data of lists. */
  warnings: readonly string[] = [];
  /** What lists say that they have beside what they answer. */
  more: number | undefined;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const { method = "", url = "" } = request;
      this.seen.push(`${method} ${url}`);
      const { status, body } = this.#answer(method, new URL(url, "http://berth").pathname);
      response.writeHead(status).end(JSON.stringify(body));
    });
  }

  /** Address without a trailing slash. */
  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #answer(method: string, path: string): { readonly status: number; readonly body: object } {
    const [, kind = "", id, verb] = path.split("/");
    const found = new Map([
      ["blocks", this.blocks],
      ["allocations", this.allocations],
      ["leases", this.leases],
      ["operations", this.operations],
    ]).get(kind);
    if (found === undefined) return refused(404, `no route ${method} ${path}`, "NOT_FOUND");
    if (id === undefined) return ok(found, { warnings: this.warnings, more: this.more });
    const one = found.find(({ block_id, operation_id }) => [block_id, operation_id].includes(id));
    if (one === undefined) return refused(404, `no such thing: ${id}`, "NOT_FOUND");
    if (verb === undefined) return ok(one);
    if (method !== "POST" || kind !== "operations") return refused(404, "no", "NOT_FOUND");
    if (one.state !== "stuck") {
      const message = `operation ${id} is ${one.state}: only a stuck one can be retried or abandoned`;
      return refused(400, message, "PRECONDITION_FAILED");
    }
    return ok({ ...one, state: verb === "retry" ? "running" : "abandoned" });
  }
}

function ok(data: unknown, beside: object = {}) {
  return { status: 200, body: { success: true, data, ...beside } };
}

function refused(status: number, message: string, reason: string) {
  return { status, body: { success: false, error: message, message, reason } };
}

/** A block with one instance that is ready and one that is not. */
export function blockDocument(over: Document = {}): Document {
  return {
    ...{ cluster_id: "c1", live: true, block_id: "echo", phase: "running", min_instances: 1 },
    ...{ max_instances: 4, component_uri: "model.echo:1.0.0-stable" },
    instances: [
      {
        ...{ instance_id: "in-a", node_id: "n1", phase: "running", ready: true, restarts: 0 },
        ...{ gpus: [{ uuid: "GPU-4013ada4-1111" }, { uuid: "GPU-89d0c1ff-2222", memory: 10_240 }] },
        ...{ endpoint: "http://127.0.0.1:20001", allocation_id: "al-a" },
      },
      {
        ...{ instance_id: "in-b", node_id: "n2", phase: "restarting", ready: false, restarts: 3 },
        ...{ gpus: [], message: "the program ended with exit code 3", allocation_id: "al-b" },
      },
    ],
    ...{ created_at: "2026-11-22T10:00:00.000Z", updated_at: "2026-11-22T11:00:00.000Z" },
    ...over,
  };
}

/** What an instance holds. */
export function allocationDocument(over: Document = {}): Document {
  return {
    ...{ cluster_id: "c1", allocation_id: "al-a", block_id: "echo", instance_id: "in-a" },
    ...{ node_id: "n1", operation_id: "op-1", state: "committed", orphan: false },
    ...{ gpus: [{ uuid: "GPU-4013ada4-1111" }], cpu_millis: 1_500, memory: 2_048, storage: 0 },
    ...{ taken_at: "2026-11-22T10:00:00.000Z", ...over },
  };
}

/** What is held for a while. */
export function leaseDocument(over: Document = {}): Document {
  return {
    ...{ cluster_id: "c1", lease_id: "le-1", node_id: "n1", subject: "gateway", renewals: 2 },
    ...{ gpus: [{ uuid: "GPU-4013ada4-1111" }], cpu_millis: 0, memory: 0, storage: 1_024 },
    ...{ ttl_left_ms: 25_000, age_ms: 65_000, ...over },
  };
}

/** An operation that can go neither on nor back. */
export function operationDocument(over: Document = {}): Document {
  return {
    ...{ cluster_id: "c1", operation_id: "op-1", action: "scale", block_id: "echo" },
    ...{ state: "stuck", step: "undoing: no answer", progress: { done: 1, total: 3 }, attempts: 4 },
    error: { reason: "CONFLICT", message: "no place", details: { reasons: ["n1 is full"] } },
    ...{ created_at: "2026-11-22T10:00:00.000Z", updated_at: "2026-11-22T10:03:10.000Z" },
    ...over,
  };
}
