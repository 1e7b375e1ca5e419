// A program for tests: carries out commands with an effect outside of its store, and kills itself at named points.
// Speaks JSON lines: {@link ToProcess} on standard input, {@link FromProcess} on standard output.

import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { CommandSchema } from "@berth/proto";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { create } from "@bufbuild/protobuf";
import { type CommandResult, openCommandJournal } from "../link/command-journal.ts";
import { CommandRunner } from "../link/command-runner.ts";
import type { OrderHandler } from "../link/order-handler.ts";

/** Where the process kills itself: begin recorded, effect done, result recorded, result given out. */
export type FaultPoint = "begun" | "acted" | "finished" | "given out";

/** What a process is started with, as JSON in its first argument. */
export interface CommandProcessOptions {
  readonly database: string;
  /** The outside world: one line for each command that acted. */
  readonly effects: string;
  /** The command and the point at which the process dies. */
  readonly fault?: { readonly commandId: string; readonly point: FaultPoint };
}

/** What a process is told: of orders, of results that were taken in, and to fill its disk. */
export type ToProcess =
  | { readonly kind: "offer" | "acknowledge"; readonly commandId: string }
  | { readonly kind: "fill" };

/** What a process tells. */
export type FromProcess =
  | { readonly kind: "ready" | "full" }
  | { readonly kind: "completion"; readonly commandId: string; readonly result: CommandResult }
  | { readonly kind: "acknowledged"; readonly commandId: string }
  | { readonly kind: "dies"; readonly commandId: string; readonly point: FaultPoint };

const FENCE = { storeId: "s1", controllerTerm: 1n, termId: "t1" };
const MAX_FILLERS = 1_000;
const never = new AbortController().signal;

const options = JSON.parse(process.argv[2] ?? "") as CommandProcessOptions;

/** Synchronous, so that it is out when the process dies in the next line. */
function tell(message: FromProcess): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

function dieAt(point: FaultPoint, commandId: string): void {
  const { fault } = options;
  if (fault?.point !== point || fault.commandId !== commandId) return;
  tell({ kind: "dies", commandId, point });
  process.kill(process.pid, "SIGKILL");
}

/** The store; the process dies when it has what makes a point. */
function withFaults(store: DocumentStore): DocumentStore {
  const apply: DocumentStore["apply"] = async (writes) => {
    const outcome = await store.apply(writes);
    for (const write of writes) {
      if (write.kind === "delete" || write.key.collection !== "commands") continue;
      const body = write.body as { readonly result?: unknown; readonly isAcknowledged: boolean };
      if (write.kind === "insert") dieAt("begun", write.key.id);
      else if (body.result !== undefined && !body.isAcknowledged) dieAt("finished", write.key.id);
    }
    return outcome;
  };
  return withApply(store, apply);
}

function effectLines(): string[] {
  return readFileSync(options.effects, "utf8").split("\n").slice(0, -1);
}

/** Appends the command's id, durably; only when it is told that it may have done so before does it look. */
const handler: OrderHandler = async (order, { resumed }) => {
  const commandId = order.case === "echo" ? order.value.text : "";
  if (!resumed || !effectLines().includes(commandId)) {
    const file = openSync(options.effects, "a");
    writeSync(file, `${commandId}\n`);
    fsyncSync(file);
    closeSync(file);
  }
  dieAt("acted", commandId);
  const line = effectLines().indexOf(commandId);
  return { kind: "result", json: JSON.stringify({ line }), memory: {} };
};

/** Writes until the disk takes no more, at last also nothing small. */
async function fill(store: DocumentStore): Promise<void> {
  for (const characters of [4_096, 1]) {
    for (let n = 0; n < MAX_FILLERS; n += 1) {
      const key = { orgId: "o", collection: "fillers", id: `${characters}/${n}` };
      const isFull = await store
        .apply([{ kind: "insert", key, body: "x".repeat(characters) }])
        .then(
          () => false,
          () => true,
        );
      if (isFull) break;
    }
  }
  tell({ kind: "full" });
}

async function giveOut(commands: CommandRunner, acks: Map<string, () => void>): Promise<void> {
  for (;;) {
    const completion = await commands.nextCompletion(never);
    if (completion === undefined) return;
    const { commandId, result } = completion;
    const taken = new Promise<void>((resolve) => acks.set(commandId, resolve));
    tell({ kind: "completion", commandId, result });
    dieAt("given out", commandId);
    await taken;
    await commands.acknowledged(commandId);
    tell({ kind: "acknowledged", commandId });
  }
}

async function main(): Promise<void> {
  // With a limit on the size of files a write beyond it must fail, not end the process.
  process.on("SIGXFSZ", () => undefined);
  const store = withFaults(openSqliteDocumentStore(options.database, systemClock));
  const journal = await openCommandJournal({ store, orgId: "o", clock: systemClock });
  const commands = new CommandRunner({
    ...{ journal, clock: systemClock, logger: silentLogger, ledgerRevision: () => 0n },
    handlers: new Map([["echo", handler]]),
  });
  const acks = new Map<string, () => void>();
  void giveOut(commands, acks);
  await commands.resume();
  tell({ kind: "ready" });
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line) as ToProcess;
    if (message.kind === "fill") await fill(store);
    else if (message.kind === "acknowledge") acks.get(message.commandId)?.();
    else {
      const { commandId } = message;
      const order = { case: "echo", value: { text: commandId } } as const;
      const command = create(CommandSchema, { commandId, fence: FENCE, timeoutMs: 60_000, order });
      await commands.take(command, { mode: "obey", known: FENCE }, { signal: never });
    }
  }
  await commands.stop();
  await store.close();
}

await main();
