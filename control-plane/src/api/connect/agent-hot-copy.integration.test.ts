import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";

const ECHO = { kind: "echo", text: "hi", holdMs: 0 } as const;
const FILES = ["", "-wal"];

let directory: string;
let server: LinkServer;
let agents: TestAgent[];

function newAgent(clusterId = "c1"): TestAgent {
  const agent = new TestAgent(server.url, clusterId);
  agents.push(agent);
  return agent;
}

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-hot-copy-"));
  server = new LinkServer(directory);
  agents = [];
});
afterEach(async () => {
  await stop();
  rmSync(directory, { recursive: true });
});

async function stop(): Promise<void> {
  for (const agent of agents) agent.close();
  await server.stop();
}

/** Copies the files of the running store, as a backup does that knows nothing of it. */
function copy(): void {
  for (const end of FILES) {
    if (existsSync(`${server.file}${end}`)) {
      copyFileSync(`${server.file}${end}`, path.join(directory, `backup${end}`));
    }
  }
  expect(existsSync(path.join(directory, "backup-wal"))).toBe(true);
}

/** Puts the copy in the place of the store. */
function restore(): void {
  for (const end of [...FILES, "-shm"]) rmSync(`${server.file}${end}`, { force: true });
  for (const end of FILES) copyFileSync(path.join(directory, `backup${end}`), server.file + end);
}

/** An agent that keeps the newest term id that it is told. */
class KnowingAgent {
  readonly clusterId: string;
  readonly known = { knownStoreId: "", knownControllerTerm: 0n, knownTermId: "" };
  /** Ids that came without an order. */
  pushed = 0;

  constructor(clusterId: string) {
    this.clusterId = clusterId;
  }

  /** Registers, and answers orders until its connection ends. */
  async join(): Promise<void> {
    const agent = newAgent(this.clusterId);
    const { sessionId, fence } = await agent.register(this.known);
    this.#tell(fence);
    const orders = agent.commands(sessionId);
    const loop = async (): Promise<void> => {
      for (;;) {
        const { value, done } = await orders.next();
        if (done === true) return;
        const { command, termId } = value;
        if (command === undefined) {
          this.pushed += 1;
          this.known.knownTermId = termId;
          continue;
        }
        this.#tell(command.fence);
        await agent.complete(sessionId, command.commandId);
      }
    };
    // Ends with the test's connection.
    loop().catch(() => undefined);
  }

  #tell(fence: { storeId: string; controllerTerm: bigint; termId: string } | undefined): void {
    this.known.knownStoreId = fence?.storeId ?? "";
    this.known.knownControllerTerm = fence?.controllerTerm ?? 0n;
    this.known.knownTermId = fence?.termId ?? "";
  }
}

/** Registers the same agents at the restored store; it knows that it is one, and gives nobody orders. */
async function expectFound(by: KnowingAgent): Promise<void> {
  const { observeReason } = await newAgent(by.clusterId).register(by.known);
  expect(observeReason).toContain("restored from an older copy");
  expect(server.adoption.status(ORG).restored).toMatchObject({ clusterId: by.clusterId });
  const order = server.commands.send(by.clusterId, ECHO, { timeoutMs: 1_000 });
  await expect(order).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
}

describe("a store that was restored from a copy of the running one", () => {
  it("is found by the agent that was given an order after the copy, at once and in the same term", async () => {
    await server.start();
    const agent = new KnowingAgent("c1");
    await agent.join();
    copy();
    const sent = await server.commands.send("c1", ECHO, { timeoutMs: 5_000 });
    expect(sent.kind).toBe("completed");
    await stop();
    restore();
    await server.start();
    await expectFound(agent);
  });

  it("is found by an agent that was given none itself", async () => {
    server.stretchTimes = { restMs: 20, everyMs: 60_000 };
    await server.start();
    const [busy, idle] = [new KnowingAgent("c1"), new KnowingAgent("c2")];
    await busy.join();
    await idle.join();
    copy();
    const { pushed } = idle;
    await server.commands.send("c1", ECHO, { timeoutMs: 5_000 });
    await vi.waitFor(() => expect(idle.pushed).toBeGreaterThan(pushed));
    await stop();
    restore();
    await server.start();
    await expectFound(idle);
  });

  it("is found when an agent came for the first time after the copy", async () => {
    await server.start();
    copy();
    const agent = new KnowingAgent("c1");
    await agent.join();
    await stop();
    restore();
    await server.start();
    await expectFound(agent);
  });

  it("is found when nothing but time went by", async () => {
    server.stretchTimes = { restMs: 1, everyMs: 20 };
    await server.start();
    const agent = new KnowingAgent("c1");
    await agent.join();
    copy();
    const { pushed } = agent;
    await vi.waitFor(() => expect(agent.pushed).toBeGreaterThan(pushed));
    await stop();
    restore();
    await server.start();
    await expectFound(agent);
  });

  it("is no suspicion against the store itself: what it told of before is its own", async () => {
    server.stretchTimes = { restMs: 1, everyMs: 20 };
    await server.start();
    const agent = new KnowingAgent("c1");
    await agent.join();
    const earlier = { ...agent.known };
    await vi.waitFor(() => expect(agent.pushed).toBeGreaterThan(1));
    await stop();
    await server.start();
    for (const known of [earlier, agent.known]) {
      expect((await newAgent().register(known)).observeReason).toBe("");
    }
    expect(server.adoption.status(ORG).restored).toBeUndefined();
  });
});
