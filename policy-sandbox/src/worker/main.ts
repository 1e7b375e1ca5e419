// The program of a worker process. Reads frames from fd 3, writes frames to fd 4, one request at a time, and
// blocks in between: there is no event loop here that a policy could use.
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { decodeBody, FRAME_PREFIX_BYTES } from "../protocol/frames.ts";
import {
  BELL,
  EXIT,
  type RunMessage,
  SHORT_RUN_MS,
  WATCHDOG_SLACK_MS,
  type WorkerConfig,
} from "../protocol/messages.ts";
import { Channel, ChannelClosedError } from "./channel.ts";
import { CONNECT_SOURCE, runnerSource } from "./python-sources.ts";
import { openRealm, type Realm, type RealmSource } from "./realm.ts";
import { serveTurns } from "./serve-loop.ts";
import { Watchdog, WatchdogError } from "./watchdog.ts";

const CHANNEL_IN = 3;
const CHANNEL_OUT = 4;
// The watchdog is the last resort behind the host's kill: it only matters when the host is gone, and then it
// ends a policy that no interrupt reaches after at most this long.
const WATCH = { sessionMs: 45_000, turnMs: SHORT_RUN_MS };

const channel = new Channel(CHANNEL_IN, CHANNEL_OUT);
const current = { id: 0, calls: 0, serving: false };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function readSnapshot(file: string): Pick<RealmSource, "snapshot" | "codeCache"> {
  const { sections } = decodeBody(readFileSync(file).subarray(FRAME_PREFIX_BYTES));
  return { snapshot: sections[0] ?? null, codeCache: sections[1] ?? null };
}

/** Never throws: an error in here would reach the policy, which could catch it and go on. */
function callHost(text: string): string {
  try {
    current.calls += 1;
    channel.send({ type: "call", id: current.id, seq: current.calls }, [encoder.encode(text)]);
    return decoder.decode(channel.receive().sections[0]);
  } catch (error) {
    process.exit(error instanceof ChannelClosedError ? EXIT.closed : EXIT.failed);
  }
}

/** Linux brings a thread's figure up to date only when that of the whole process is asked for. */
function threadCpu(since?: NodeJS.CpuUsage): NodeJS.CpuUsage {
  process.cpuUsage();
  return process.threadCpuUsage(since);
}

function leave(limit: string): void {
  process.exit(limit === "cpu" ? EXIT.cpu : EXIT.wall);
}

async function build(config: WorkerConfig): Promise<void> {
  const source = { ...config, snapshot: null, codeCache: null };
  const realm = await openRealm(source, { callHost, leave }, true);
  realm.runPython(runnerSource());
  channel.send({ type: "snapshot" }, [realm.snapshot(), realm.codeCache()]);
}

async function serve(config: WorkerConfig): Promise<void> {
  // The image is only held while the realm starts: it is 25 MB.
  const opening = openRealm(
    { ...config, ...readSnapshot(config.snapshotFile) },
    { callHost, leave },
    false,
  );
  const realm = await opening;
  realm.connect(CONNECT_SOURCE);
  channel.send({ type: "ready" });
  current.serving = true;
  const engine = { realm, watchdog: new Watchdog() };
  const isShort = (bell: number) => bell === BELL.short;
  const take = (bell: number) => {
    const frame = channel.receive();
    const message = frame.header as unknown as RunMessage;
    run(engine, { message, sections: frame.sections, watched: isShort(bell) });
  };
  serveTurns({ wait: (bell) => channel.awaitBell(bell), isShort, take }, WATCH);
}

function run(
  engine: { realm: Realm; watchdog: Watchdog },
  frame: {
    readonly message: RunMessage;
    readonly sections: readonly Uint8Array[];
    /** Somebody watches already. */
    readonly watched: boolean;
  },
): void {
  const { message, sections, watched } = frame;
  const { id, wallMs, cpuMs, graceMs } = message;
  const { realm, watchdog } = engine;
  const startedAt = performance.now();
  const cpuBefore = threadCpu();
  current.id = id;
  current.calls = 0;
  channel.send({ type: "started", id });
  realm.setCaps(message.memoryBytes, message.fileBytes);
  const [header, ...rest] = sections;
  const request = { header: decoder.decode(header), sections: rest, wallMs, cpuMs, graceMs };
  const limitMs = wallMs + graceMs + WATCHDOG_SLACK_MS;
  const reply = watched ? realm.run(request) : watchdog.run(() => realm.run(request), limitMs);
  const cpu = threadCpu(cpuBefore);
  const facts = {
    id,
    fired: realm.fired(),
    wallMs: performance.now() - startedAt,
    cpuMs: (cpu.user + cpu.system) / 1_000,
  };
  if (!reply.startsWith("ok")) {
    channel.send({ type: "trap", ...facts }, [encoder.encode(reply.slice(4))]);
    process.exit(EXIT.trap);
  }
  const parts = reply.slice(2).split("\0", 3);
  channel.send(
    { type: "done", ...facts, heapBytes: realm.heapBytes() },
    parts.map((part) => encoder.encode(part)),
  );
}

async function main(): Promise<void> {
  // The host closes the channel when it wants this process gone; a signal to the whole process group
  // (Ctrl-C in a terminal) must not cut an evaluation that the host still waits for.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => undefined);
  const config = JSON.parse(process.argv[2] ?? "{}") as WorkerConfig;
  try {
    await (config.mode === "build" ? build(config) : serve(config));
    process.exit(EXIT.closed);
  } catch (error) {
    if (error instanceof ChannelClosedError) process.exit(EXIT.closed);
    if (error instanceof WatchdogError) process.exit(EXIT.wall);
    // Once a policy has run, an error may be its own object: then nothing of it is read, not even the stack.
    process.stderr.write(current.serving ? "the worker failed\n" : `${inspect(error)}\n`);
    process.exit(EXIT.failed);
  }
}

await main();
