import { copyFileSync, existsSync, rmSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { ECHO, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const FILES = ["", "-wal"];

const link = useLinkServer({ isStarted: false });

/** Copies the files of the running store, as a backup does that knows nothing of it. */
function copy(): void {
  for (const end of FILES) {
    if (existsSync(`${link.server.file}${end}`)) {
      copyFileSync(`${link.server.file}${end}`, path.join(link.directory, `backup${end}`));
    }
  }
  expect(existsSync(path.join(link.directory, "backup-wal"))).toBe(true);
}

/** Puts the copy in the place of the store. */
function restore(): void {
  for (const end of [...FILES, "-shm"]) rmSync(`${link.server.file}${end}`, { force: true });
  for (const end of FILES)
    copyFileSync(path.join(link.directory, `backup${end}`), link.server.file + end);
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
    const agent = link.newAgent(this.clusterId);
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
  const { observeReason } = await link.newAgent(by.clusterId).register(by.known);
  expect(observeReason).toContain("restored from an older copy");
  expect(link.server.adoption.status(ORG).restored).toMatchObject({ clusterId: by.clusterId });
  const order = link.server.commands.send(by.clusterId, ECHO, { timeoutMs: 1_000 });
  await expect(order).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
}

describe("a store that was restored from a copy of the running one", () => {
  it("is found by the agent that was given an order after the copy, at once and in the same term", async () => {
    await link.server.start();
    const agent = new KnowingAgent("c1");
    await agent.join();
    copy();
    const sent = await link.server.commands.send("c1", ECHO, { timeoutMs: 5_000 });
    expect(sent.kind).toBe("completed");
    await link.stop();
    restore();
    await link.server.start();
    await expectFound(agent);
  });

  it("is found by an agent that was given none itself", async () => {
    link.server.stretchTimes = { restMs: 20, everyMs: 60_000 };
    await link.server.start();
    const [busy, idle] = [new KnowingAgent("c1"), new KnowingAgent("c2")];
    await busy.join();
    await idle.join();
    copy();
    const { pushed } = idle;
    await link.server.commands.send("c1", ECHO, { timeoutMs: 5_000 });
    await vi.waitFor(() => expect(idle.pushed).toBeGreaterThan(pushed));
    await link.stop();
    restore();
    await link.server.start();
    await expectFound(idle);
  });

  it("is found when an agent came for the first time after the copy", async () => {
    await link.server.start();
    copy();
    const agent = new KnowingAgent("c1");
    await agent.join();
    await link.stop();
    restore();
    await link.server.start();
    await expectFound(agent);
  });

  it("is found when nothing but time went by", async () => {
    link.server.stretchTimes = { restMs: 1, everyMs: 20 };
    await link.server.start();
    const agent = new KnowingAgent("c1");
    await agent.join();
    copy();
    const { pushed } = agent;
    await vi.waitFor(() => expect(agent.pushed).toBeGreaterThan(pushed));
    await link.stop();
    restore();
    await link.server.start();
    await expectFound(agent);
  });

  it("is no suspicion against the store itself: what it told of before is its own", async () => {
    link.server.stretchTimes = { restMs: 1, everyMs: 20 };
    await link.server.start();
    const agent = new KnowingAgent("c1");
    await agent.join();
    const earlier = { ...agent.known };
    await vi.waitFor(() => expect(agent.pushed).toBeGreaterThan(1));
    await link.restart();
    for (const known of [earlier, agent.known]) {
      expect((await link.newAgent().register(known)).observeReason).toBe("");
    }
    expect(link.server.adoption.status(ORG).restored).toBeUndefined();
  });
});
