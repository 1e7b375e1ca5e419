import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { until } from "../testing/fixtures.ts";
import { LeapingClock } from "../testing/leaping-clock.ts";
import { script } from "../testing/local-processes.ts";

/** Ready once a file has its name; tells in another one what parameters it was given. */
const CODE = `
  const { createServer } = require("node:http");
  const fs = require("node:fs");
  const file = process.env.FOLDER + "/" + process.env.INSTANCE_ID;
  createServer((request, response) => {
    if (request.url === "/setParameters") {
      request.on("data", (text) => fs.appendFileSync(file + ".told", text));
      request.on("end", () => response.end('{"success":true}'));
      return;
    }
    const isReady = fs.existsSync(file) || fs.existsSync(process.env.FOLDER + "/all");
    response.writeHead(isReady ? 200 : 503).end("{}");
  }).listen(process.env.BERTH_CONTROL_PORT, "127.0.0.1");`;

const cleanup = new Cleanup();
let fleet: BlockAgent;
let folder: string;
let clock: LeapingClock;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "berth-moved-"));
  cleanup.add(async () => rmSync(folder, { recursive: true, force: true }));
  clock = new LeapingClock();
  fleet = await startBlockAgent(cleanup, { options: { clock } });
  cleanup.add(async () => {
    await fleet.blocks.runtime.removeBlock("b", AbortSignal.timeout(20_000)).catch(() => undefined);
  });
});
afterEach(() => cleanup.run());

interface Shown {
  readonly instance_id: string;
  readonly ready: boolean;
  readonly phase: string;
}

async function instances(): Promise<readonly Shown[]> {
  const { body } = await fleet.call("GET", "/blocks/b");
  return body.data.instances;
}

const readyIds = async () =>
  (await instances()).filter(({ ready }) => ready).map(({ instance_id }) => instance_id);

/** Makes the block with one instance; gives its id. */
async function create(command = script(CODE)): Promise<string> {
  const component = { containerRegistryInfo: { command, env: { FOLDER: folder } } };
  const block_data = {
    ...{ id: "b", component },
    ...{ resources: { gpus: 1, cpuMillis: 10, memoryMiB: 16 }, minInstances: 1 },
  };
  expect((await fleet.act({ action: "create_block", block_data })).status).toBe(200);
  const [only] = await instances();
  return only?.instance_id ?? "";
}

const becomesReady = (id: string) => writeFileSync(path.join(folder, id), "");
const move = (instance_id: string, more: object = {}) =>
  fleet.act({ action: "reassign", block_id: "b", instance_id, ...more });

describe("an instance that is moved", () => {
  it("stays when the new one is not ready in time, and the new one goes", async () => {
    const old = await create();
    becomesReady(old);
    await until("it to be ready", async () => (await readyIds()).length === 1);
    const answer = await move(old, { ready_timeout_ms: 1_500 });
    expect(answer).toMatchObject({ status: 504, body: { reason: "DEADLINE_EXCEEDED" } });
    expect(answer.body.message).toMatch(
      /is not ready after 1500 ms \(ready_timeout_ms\), so the old one stays: GET \/health answered 503/,
    );
    expect(await readyIds()).toEqual([old]);
    expect(await instances()).toHaveLength(1);
    const { body } = await fleet.call("GET", "/operations?limit=1");
    expect(body.data[0]).toMatchObject({ state: "failed", attempts: 2 });
  });

  it("goes when the new one is ready, however long that takes", async () => {
    const old = await create();
    becomesReady(old);
    await until("it to be ready", async () => (await readyIds()).length === 1);
    await move(old, { wait: false });
    await until("both to run", async () =>
      (await instances()).every(({ phase }, _at, all) => all.length === 2 && phase === "running"),
    );
    const fresh = (await instances()).find(({ instance_id }) => instance_id !== old);
    becomesReady(fresh?.instance_id ?? "");
    await until("the old one to be gone", async () => (await instances()).length === 1);
    expect(await readyIds()).toEqual([fresh?.instance_id]);
  });

  it("goes for one that only runs when it was not ready itself", async () => {
    const old = await create();
    const answer = await move(old, { ready_timeout_ms: 1_000 });
    expect(answer).toMatchObject({ status: 200, body: { data: "Action performed" } });
    const [now, ...more] = await instances();
    expect(more).toEqual([]);
    expect(now).toMatchObject({ ready: false, phase: "running" });
    expect(now?.instance_id).not.toBe(old);
  });

  it("is not waited for when its block is to be removed", async () => {
    const old = await create();
    becomesReady(old);
    await until("it to be ready", async () => (await readyIds()).length === 1);
    const moved = move(old);
    await until("the new one to be there", async () => (await instances()).length === 2);
    expect(await fleet.act({ action: "remove_block", block_id: "b" })).toMatchObject({
      status: 200,
    });
    expect(await moved).toMatchObject({
      status: 409,
      body: { message: "the block is to be removed, so nothing is moved any more" },
    });
    expect(fleet.blocks.ledger.holds()).toEqual([]);
  });

  it("holds up no end of the agent", async () => {
    const old = await create();
    becomesReady(old);
    await until("it to be ready", async () => (await readyIds()).length === 1);
    await move(old, { wait: false });
    await until("the new one to be there", async () => (await instances()).length === 2);
    const began = performance.now();
    await fleet.blocks.operations.stop();
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  it.each([-1, "soon", 1e9])("is refused a time of %j by name", async (ready_timeout_ms) => {
    const answer = await move("in-x", { ready_timeout_ms });
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.body.message).toMatch(/^ready_timeout_ms: expected a number of 0-3600000, got/);
  });
});

describe("new parameters", () => {
  const update = { action: "parameter_update", block_id: "b", update_data: { t: 1 } };
  const isWaiting = async () => {
    const { body } = await fleet.call("GET", "/operations?state=running");
    return body.data[0]?.step === "telling instances";
  };
  const told = (id: string) => readFileSync(path.join(folder, `${id}.told`), "utf8");
  const running = () =>
    until("it to run", async () => (await instances()).every(({ phase }) => phase === "running"));

  it("wait for an instance that is not ready yet", async () => {
    const id = await create();
    await running();
    const answer = fleet.act(update);
    await until("the update to wait", isWaiting);
    expect(() => told(id)).toThrow();
    becomesReady(id);
    expect(await answer).toMatchObject({
      status: 200,
      body: { data: { [id]: { success: true } } },
    });
    expect(told(id)).toBe('{"t":1}');
  });

  it("lose nothing that was written beside them", async () => {
    becomesReady(await create());
    await until("it to be ready", async () => (await readyIds()).length === 1);
    const puts = Array.from({ length: 8 }, (_, at) => [
      fleet.call("PUT", "/block/update/b", { $set: { [`parameters.put${at}`]: at } }),
      fleet.act({ ...update, update_data: { [`told${at}`]: at } }),
    ]);
    const answers = await Promise.all(puts.flat());
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    const after = (await fleet.call("GET", "/blocks/b")).body.data.parameters;
    expect(Object.keys(after)).toHaveLength(16);
  });

  it("are told to one that is not ready in time, since it may listen", async () => {
    const id = await create();
    await running();
    const answer = fleet.act(update);
    await until("the update to wait", isWaiting);
    clock.leap(30_000);
    expect(await answer).toMatchObject({
      status: 200,
      body: { data: { [id]: { success: true } } },
    });
    expect(told(id)).toBe('{"t":1}');
  });

  it("name who was not reached, and are in the record all the same", async () => {
    const id = await create(script("setInterval(() => {}, 1e6)"));
    await running();
    const answer = fleet.act(update);
    await until("the update to wait", isWaiting);
    clock.leap(30_000);
    const { status, body } = await answer;
    expect({ status, told: body.data[id].success }).toEqual({ status: 200, told: false });
    expect(body.data[id].message).toMatch(
      /^it is not ready \(nothing listens.*\), and it cannot be reached: /,
    );
    expect((await fleet.call("GET", "/blocks/b")).body.data.parameters).toEqual({ t: 1 });
  });
});
