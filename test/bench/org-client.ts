import { once } from "node:events";
import { Agent, request } from "node:http";
import { WebSocket } from "ws";

const MAX_CONNECTIONS = 64;
const ANSWER_LIMIT_MS = 30_000;

/** REST over 64 connections that stay open. */
export class RestClient {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: MAX_CONNECTIONS });

  constructor(url: string) {
    this.#url = url;
  }

  /** Sends JSON and waits for the answer to its end, 30 s at most; rejects unless it is a success. */
  async send(method: "POST" | "PUT", path: string, body: object): Promise<void> {
    const text = JSON.stringify(body);
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
    };
    const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
    const call = request(this.#url + path, { agent: this.#agent, method, headers, signal });
    call.end(text);
    const [reply] = await once(call, "response", { signal });
    let answer = "";
    for await (const chunk of reply) answer += chunk;
    if (reply.statusCode >= 300) throw new Error(`${method} ${path}: ${answer}`);
  }

  /** Creates quotas `quota-0` … of subjects `subject-0` …, plain numbers of replicas. */
  async createQuotas(count: number): Promise<void> {
    const ids = Array.from({ length: count }, (_, n) => n).values();
    const create = async () => {
      for (const n of ids) await this.send("POST", "/quota", quotaBody(n));
    };
    await Promise.all(Array.from({ length: MAX_CONNECTIONS }, create));
  }

  /** Closes all connections. */
  close(): void {
    this.#agent.destroy();
  }
}

/** The n-th quota, of the n-th subject. */
export function quotaBody(n: number): Readonly<Record<string, unknown>> {
  return { subject_id: `subject-${n}`, quota_id: `quota-${n}`, replica_count: 1 };
}

/** A socket on which one request to scale after the other is made. */
export class ScaleCaller {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** Opens a socket that stays open. */
  static async open(url: string): Promise<ScaleCaller> {
    const socket = new WebSocket(`${url}?keep_open=true`, { perMessageDeflate: false });
    await once(socket, "open");
    return new ScaleCaller(socket);
  }

  /** Scales a subject; gives the time until it was confirmed, ms. Rejects when it was not, or not within 30 s. */
  async scale(subjectId: string, replicas: number): Promise<number> {
    const beginMs = performance.now();
    const answer = once(this.#socket, "message", { signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
    this.#socket.send(JSON.stringify({ subject_id: subjectId, replica_count: replicas }));
    const [data] = await answer;
    const tookMs = performance.now() - beginMs;
    const reply: { success?: boolean } = JSON.parse(String(data));
    if (reply.success !== true) throw new Error(`${subjectId} was not scaled: ${data}`);
    return tookMs;
  }

  close(): void {
    this.#socket.close();
  }
}
