import { encodeFrame, type Frame, FrameError, FrameReader } from "../protocol/frames.ts";
import type { WorkerConfig } from "../protocol/messages.ts";
import { beginDeadline } from "./begin-deadline.ts";
import { bellFor, type EndCause, endOf, type Job, type JobReply } from "./job.ts";
import { setBackground } from "./process-priority.ts";
import { type ProcessUsage, readUsage } from "./process-usage.ts";
import { type SpawnedWorker, spawnWorker } from "./spawn-worker.ts";
import { WorkerEnded } from "./worker-ended.ts";
import { parseWorkerMessage, type WorkerMessage } from "./worker-messages.ts";

/** What a worker says of a run. */
type RunAnswer = Extract<WorkerMessage, { id: number }>;

/** A start takes below 3 s; building the image takes 20 s on a slow machine. */
const START_DEADLINES_MS = { serve: 20_000, build: 90_000 } as const;
// An evaluation that is over sooner is never looked at: what it can use in that time is not worth the reading.
const POLL_MS = 50;
// A policy that meets the limit as an exception can still end by itself; one that goes on is a flood.
const EXCESS_HOST_CALLS = 64;
const STDERR_CHARS = 4_000;
const IDLE_FRAME_BYTES = 64 * 1024;
// A broken channel is the first that is seen of a process that ends; how it ends follows at once.
const EXIT_WAIT_MS = 500;

interface Running {
  readonly id: number;
  readonly job: Job;
  readonly resolve: (reply: JobReply) => void;
  readonly timers: NodeJS.Timeout[];
  /** The worker has said that it has all of the job. */
  begun: boolean;
  /** Made when a host call needs it: most runs have none. */
  abort: AbortController | null;
  readonly startedAt: number;
  calls: number;
  answering: boolean;
  firstUsage: ProcessUsage | null;
  lastUsage: ProcessUsage | null;
}

/**
 * One worker process: starts it, talks frames with it and ends it. Everything it says is checked; the first
 * violation kills it. Runs one job at a time.
 */
export class WorkerProcess {
  readonly #spawned: SpawnedWorker;
  readonly #reader: FrameReader;
  readonly #ready = Promise.withResolvers<Frame["sections"]>();
  readonly #whenGone = Promise.withResolvers<void>();
  #startTimer: NodeJS.Timeout | null;
  #running: Running | null = null;
  #nextId = 1;
  #end: { cause: EndCause; message: string } | null = null;
  #stderr = "";
  /** What it has said last may still be on its way. */
  #exited = false;
  #breakTimer: NodeJS.Timeout | null = null;
  #gone = false;
  #background = false;

  constructor(config: WorkerConfig, startFrameBytes = IDLE_FRAME_BYTES) {
    this.#reader = new FrameReader(startFrameBytes);
    this.#spawned = spawnWorker(config);
    this.#startTimer = setTimeout(
      () => this.kill("late", "the worker did not start in time"),
      START_DEADLINES_MS[config.mode],
    );
    this.#listen();
  }

  /** 0 when the process could not even be created. */
  get pid(): number {
    return this.#spawned.child.pid ?? 0;
  }

  /** False as soon as anything is known of its end. */
  get alive(): boolean {
    return this.#end === null && this.#breakTimer === null && !this.#exited && !this.#gone;
  }

  /** Why the process ended or is about to; empty while it lives. */
  get endMessage(): string {
    return this.#end?.message ?? "";
  }

  /**
   * Settles when the worker is ready (a builder: with the sections of its snapshot); rejects with `WorkerEnded`
   * when it cannot start.
   */
  get ready(): Promise<Frame["sections"]> {
    return this.#ready.promise;
  }

  /** Resolves when the process is gone. Never rejects. */
  get exited(): Promise<void> {
    return this.#whenGone.promise;
  }

  /** While true, whatever else wants the processor goes first. Costs nothing when it is so already. */
  set background(on: boolean) {
    if (on === this.#background || !this.alive) return;
    this.#background = on;
    setBackground(this.pid, on);
  }

  /** Runs one job. Never rejects; the hard deadline is the job's wall time plus its grace. */
  run(job: Job): Promise<JobReply> {
    const { promise, resolve } = Promise.withResolvers<JobReply>();
    if (!this.alive || this.#running !== null) {
      const told = this.alive ? Promise.resolve() : this.exited;
      void told.then(() => resolve(this.#endedReply(null)));
      return promise;
    }
    const id = this.#nextId;
    this.#nextId += 1;
    this.#reader.maxBytes = job.replyBytes;
    const running: Running = {
      id,
      job,
      resolve,
      timers: [],
      begun: false,
      abort: null,
      startedAt: performance.now(),
      calls: 0,
      answering: false,
      firstUsage: null,
      lastUsage: null,
    };
    this.#running = running;
    const { wallMs, graceMs } = job.message;
    const isSettled = () => running.begun || this.#running !== running;
    running.timers.push(
      beginDeadline({ sections: job.sections, isSettled }, () =>
        this.kill("exit", "the worker did not take the evaluation in time"),
      ),
      setTimeout(() => this.kill("wall", "the policy ignored its deadline"), wallMs + graceMs),
      setInterval(() => void this.#watch(running), POLL_MS),
    );
    this.#send({ type: "run", id, ...job.message }, job.sections, bellFor(job.message));
    return promise;
  }

  /** Ends the process at once; the first cause is the one that is told. */
  kill(cause: EndCause, message: string): void {
    this.#end ??= { cause, message };
    this.#spawned.child.kill("SIGKILL");
  }

  #listen(): void {
    const { child, input, output, stderr } = this.#spawned;
    output.on("data", (chunk: Buffer) => this.#receive(chunk));
    stderr.setEncoding("utf8");
    stderr.on("data", (chunk: string) => {
      this.#stderr = (this.#stderr + chunk).slice(-STDERR_CHARS);
    });
    for (const stream of [input, output, stderr]) stream.on("error", () => this.#break());
    child.on("error", (error) => {
      this.kill("spawn", `the worker could not be started: ${error.message}`);
      if (child.pid === undefined) this.#finish(null, null);
    });
    child.on("exit", () => {
      this.#exited = true;
      if (this.#breakTimer !== null) clearTimeout(this.#breakTimer);
    });
    child.on("close", (code, signal) => this.#finish(code, signal));
  }

  #break(): void {
    if (!this.alive) return;
    const kill = () => this.kill("exit", "the worker's channel broke");
    this.#breakTimer = setTimeout(kill, EXIT_WAIT_MS);
  }

  #receive(chunk: Buffer): void {
    if (this.#end !== null) return;
    try {
      for (const frame of this.#reader.push(chunk)) this.#handle(parseWorkerMessage(frame));
    } catch (error) {
      const message = error instanceof FrameError ? error.message : "the frame cannot be read";
      this.kill("protocol", `the worker broke the protocol: ${message}`);
    }
  }

  #handle(message: WorkerMessage): void {
    if (message.type === "ready" || message.type === "snapshot") {
      if (this.#startTimer === null) throw new FrameError(`${message.type} out of turn`);
      clearTimeout(this.#startTimer);
      this.#startTimer = null;
      this.#ready.resolve(message.type === "snapshot" ? message.sections : []);
      return;
    }
    const running = this.#running;
    if (running === null || message.id !== running.id) throw new FrameError("answer out of turn");
    this.#handleOf(running, message);
  }

  #handleOf(running: Running, message: RunAnswer): void {
    if (running.begun === (message.type === "started")) throw new FrameError("start out of turn");
    if (message.type === "started") {
      running.begun = true;
      return;
    }
    if (running.answering) throw new FrameError("frame while a host call is open");
    if (message.type === "call") {
      if (message.seq !== running.calls + 1) throw new FrameError("host call out of sequence");
      this.#call(running, message.text);
    } else if (message.type === "trap") {
      // An interrupt that found the runner outside of the policy ends the interpreter, too.
      this.kill(message.facts.fired || "trap", `the interpreter failed: ${message.message}`);
    } else {
      this.#settle({ kind: "done", facts: message.facts, sections: message.sections });
    }
  }

  #call(running: Running, text: string): void {
    const { hostCalls } = running.job;
    running.calls += 1;
    if (running.calls <= hostCalls + EXCESS_HOST_CALLS) {
      void this.#answer(running, text);
      return;
    }
    const made = `more than ${hostCalls + EXCESS_HOST_CALLS} host calls`;
    this.kill("host_calls", `the policy made ${made}, at most ${hostCalls} are allowed`);
  }

  async #answer(running: Running, text: string): Promise<void> {
    running.answering = true;
    const remainingMs = running.job.message.wallMs - (performance.now() - running.startedAt);
    running.abort ??= new AbortController();
    const context = { signal: running.abort.signal, seq: running.calls, remainingMs };
    const reply = await running.job.answer(text, context);
    if (this.#running !== running || !this.alive) return;
    running.answering = false;
    this.#send({ type: "reply" }, [Buffer.from(reply, "utf8")]);
  }

  async #watch(running: Running): Promise<void> {
    const usage = await readUsage(this.pid);
    if (usage === null || this.#running !== running) return;
    running.firstUsage ??= usage;
    running.lastUsage = usage;
    const { rssMiB, message } = running.job;
    const cpuMs = usage.cpuMs - running.firstUsage.cpuMs;
    // The interrupt does not reach a policy that stays inside one long operation of Python's own.
    if (cpuMs > message.cpuMs + message.graceMs) {
      this.kill("cpu", "the policy ignored its CPU deadline");
    }
    if (usage.rssMiB > rssMiB) {
      const used = Math.round(usage.rssMiB);
      this.kill("memory", `the worker used ${used} MiB, at most ${rssMiB} MiB are allowed`);
    }
  }

  #send(
    header: Readonly<Record<string, unknown>>,
    sections: readonly Uint8Array[],
    ahead?: Uint8Array,
  ): void {
    const { input } = this.#spawned;
    const chunks = encodeFrame(header, sections);
    const [head] = chunks;
    // One system call for the byte ahead and the head.
    if (ahead !== undefined && head !== undefined) chunks[0] = Buffer.concat([ahead, head]);
    for (const chunk of chunks) input.write(chunk);
  }

  #settle(reply: JobReply): void {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    this.#reader.maxBytes = IDLE_FRAME_BYTES;
    for (const timer of running.timers) clearTimeout(timer);
    running.abort?.abort();
    running.resolve(reply);
  }

  #finish(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#gone) return;
    this.#gone = true;
    if (this.#startTimer !== null) clearTimeout(this.#startTimer);
    this.#startTimer = null;
    const outside = this.#end === null ? signal : null;
    const end = this.#end ?? endOf(code, signal, this.#stderr);
    this.#end = end;
    this.#ready.promise.catch(() => undefined);
    const message = `${end.message}${this.#stderr === "" ? "" : `: ${this.#stderr}`}`;
    this.#ready.reject(new WorkerEnded({ ...end, message }, outside));
    this.#settle(this.#endedReply(this.#running));
    this.#whenGone.resolve();
  }

  #endedReply(running: Running | null): JobReply {
    const end = this.#end ?? { cause: "exit", message: "the worker is not available" };
    const first = running?.firstUsage?.cpuMs ?? 0;
    const cpuMs = Math.max(0, (running?.lastUsage?.cpuMs ?? 0) - first);
    return { kind: "ended", ...end, cpuMs, begun: running?.begun ?? false };
  }
}
