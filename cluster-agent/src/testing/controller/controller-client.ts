import type { Cleanup } from "../agent.ts";
import type { Answer, Method } from "../block-agent.ts";
import { until } from "../fixtures.ts";
import type { ControllerUnderTest } from "./controller-under-test.ts";

const READY_LIMIT_MS = 30_000;

/** Asks a {@link ControllerUnderTest}. */
export class ControllerClient {
  #controller: ControllerUnderTest | undefined;

  async open(cleanup: Cleanup, open: (cleanup: Cleanup) => Promise<ControllerUnderTest>) {
    this.#controller = await open(cleanup);
  }

  get controller(): ControllerUnderTest {
    if (this.#controller === undefined) throw new Error("the controller is not open yet");
    return this.#controller;
  }

  get nodeId(): string {
    return this.controller.nodeId;
  }

  call(method: Method, url: string, body?: unknown): Promise<Answer> {
    return this.controller.call(method, url, body);
  }

  act(action: string, fields: object): Promise<Answer> {
    return this.call("POST", "/executeAction", { action, ...fields });
  }

  /** Entry of a block whose instances want one GPU each. */
  entry(id: string, more: object = {}): object {
    const component = { containerRegistryInfo: this.controller.program };
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

  /** The operation once it is in a state. */
  async operation(id: string, state: string) {
    const shown = async () => (await this.call("GET", `/operations/${id}`)).body.data;
    await until(
      `operation ${id} to be ${state}`,
      async () => (await shown()).state === state,
      READY_LIMIT_MS,
    );
    return shown();
  }

  /** Leaves no policy, block or lease behind. */
  async removeAll(): Promise<void> {
    await this.controller.govern({});
    const { body } = await this.call("GET", "/blocks");
    for (const { id } of body.data) await this.act("remove_block", { block_id: id });
    const leases = (await this.call("GET", "/leases")).body.data;
    for (const { lease_id } of leases) await this.call("DELETE", `/leases/${lease_id}`);
  }
}
