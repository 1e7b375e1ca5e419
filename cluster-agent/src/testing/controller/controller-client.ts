import type { Cleanup } from "./agent.ts";
import type { Answer } from "./block-agent.ts";
import { until } from "./fixtures.ts";

const READY_LIMIT_MS = 30_000;

/** A cluster-agent with one node of four GPUs that is asked as clients ask it. */
export interface ControllerUnderTest {
  readonly call: (
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    url: string,
    body?: unknown,
  ) => Promise<Answer>;
  /** `component.containerRegistryInfo` of a program that serves `/health` and `/setParameters` here. */
  readonly program: object;
  readonly nodeId: string;
}

/** Asks a {@link ControllerUnderTest}. */
export class ControllerClient {
  #controller: ControllerUnderTest | undefined;

  async open(cleanup: Cleanup, open: (cleanup: Cleanup) => Promise<ControllerUnderTest>) {
    this.#controller = await open(cleanup);
  }

  get nodeId(): string {
    return this.#opened.nodeId;
  }

  call(...given: Parameters<ControllerUnderTest["call"]>): Promise<Answer> {
    return this.#opened.call(...given);
  }

  act(action: string, fields: object): Promise<Answer> {
    return this.call("POST", "/executeAction", { action, ...fields });
  }

  /** Entry of a block whose instances want one GPU each. */
  entry(id: string, more: object = {}): object {
    const component = { containerRegistryInfo: this.#opened.program };
    return { id, component, resources: { gpus: 1 }, ...more };
  }

  create(id: string, more: object = {}): Promise<Answer> {
    return this.act("create_block", { block_data: this.entry(id, more) });
  }

  async instances(id: string) {
    return (await this.call("GET", `/blocks/${id}`)).body.data.instances;
  }

  /** Number of allocations. */
  async taken(): Promise<number> {
    return (await this.call("GET", "/allocations")).body.data.length;
  }

  ready(id: string, count: number): Promise<void> {
    const isReady = async () => {
      const { body } = await this.call("GET", `/blocks/${id}`);
      return body.data.status.ready === count;
    };
    return until(`${count} ready instances of ${id}`, isReady, READY_LIMIT_MS);
  }

  async removeAll(): Promise<void> {
    const { body } = await this.call("GET", "/blocks");
    for (const { id } of body.data) await this.act("remove_block", { block_id: id });
  }

  get #opened(): ControllerUnderTest {
    if (this.#controller === undefined) throw new Error("the controller is not open yet");
    return this.#controller;
  }
}
