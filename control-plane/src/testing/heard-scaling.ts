import http from "node:http";
import type { AddressInfo } from "node:net";
import {
  type Bus,
  type DocumentStore,
  openBus,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { openScaling, type ScalingOptions, type TestScaling } from "./scaling-fixture.ts";

/** What was heard on a bus. */
export interface Heard {
  readonly subject: string;
  readonly body: Record<string, unknown>;
}

/** An allocator of the org's own, and what it was asked. */
export interface TestAllocator {
  readonly asked: readonly unknown[];
  readonly url: string;
}

/** What an allocator answers. */
export type AllocatorAnswer = (body: unknown) => readonly [status: number, body: object];

/** A store in memory and a bus, an org that is scaled over them, and what others hear of it. */
export class HeardScaling {
  readonly store: DocumentStore = openSqliteDocumentStore(":memory:", systemClock);
  readonly bus: Bus = openBus({ orgId: "default_org", logger: silentLogger, clock: systemClock });
  readonly heard: Heard[] = [];
  /** `authorization` of those who asked an allocator. */
  readonly callers: (string | undefined)[] = [];
  readonly #ends: (() => Promise<void>)[] = [];

  /** Hears all that is said from now on. */
  async listen(): Promise<void> {
    await this.bus.subscribe({
      subject: ">",
      handler: ({ subject, text }) => void this.heard.push({ subject, body: JSON.parse(text) }),
    });
  }

  /** Opens and starts the org. */
  async open(options: Partial<ScalingOptions> = {}): Promise<TestScaling> {
    const scaling = await openScaling({ store: this.store, bus: this.bus, ...options });
    this.#ends.unshift(() => scaling.stop());
    return scaling;
  }

  /** Confirms a request on the bus, as an allocator would. */
  confirm(uuid: string, response: object): Promise<void> {
    return this.bus.publish({
      subject: "default_org__alloc_response",
      text: JSON.stringify({ uuid, response }),
      id: `test/${Math.random()}`,
    });
  }

  /** An allocator of the org's own; it accepts everything and confirms nothing by itself unless it is told otherwise. */
  async allocator(
    answer: AllocatorAnswer = () => [200, { success: true, data: {} }],
  ): Promise<TestAllocator> {
    const asked: unknown[] = [];
    const server = http.createServer(async (request, response) => {
      const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
      asked.push(body);
      this.callers.push(request.headers.authorization);
      const { pathname } = new URL(request.url ?? "", "http://allocator");
      const [status, reply] = pathname === "/api/allocate" ? answer(body) : [404, {}];
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(reply));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#ends.push(async () => void server.close().closeAllConnections());
    return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/` };
  }

  async close(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end();
    await this.bus.close();
    await this.store.close();
  }
}
