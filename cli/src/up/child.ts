import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { errorCodeOf, messageOf } from "../cli-error.ts";
import { ErrorLines } from "./error-lines.ts";
import { LineSplitter } from "./line-splitter.ts";

/** Nobody opens a program's debugger by a signal: not even a process of the same user. */
const PROGRAM_FLAGS = ["--disable-sigusr1"] as const;
/** The log message with which a program says that all of its parts run. */
const STARTED_MARK = '"msg":"started"';
/** A program whose log level hides that message counts as up after this long. */
const UP_ANYWAY_MS = 3_000;
/** How long the pipes of a program that exited may stay open before they are cut. */
const PIPES_LIMIT_MS = 1_000;
/** How long killed processes may take to disappear; zombies that nobody reaps never do. */
const SWEEP_LIMIT_MS = 500;
const SWEEP_CHECK_MS = 5;

/** A program to run: its name for people, its file, its whole environment. */
export interface ProgramSpec {
  readonly name: string;
  /** Path of the file that Node runs. */
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  /** Whether its standard output says when it has started; else it counts as up after 3 s. */
  readonly announcesStart: boolean;
}

/** What running programs takes from the process around it. */
export interface ProcessControl {
  readonly execPath: string;
  kill(pid: number, signal: NodeJS.Signals): void;
}

/** How one life of a program ended. */
export interface LifeEnd {
  /** For people: "exited with code 1", "exited with SIGKILL", "could not be run: …". */
  readonly how: string;
  readonly livedMs: number;
  /** Whether it was ever up: an end before that is a failed start, however long it took. */
  readonly wasUp: boolean;
  /** Whether a signal ended it. */
  readonly wasKilled: boolean;
  /** The most telling line of its standard error. */
  readonly lastError: string | undefined;
}

/** What a life tells while it lasts. */
export interface LifeListener {
  onLine(stream: "stdout" | "stderr", line: string): void;
  /** Once: the program is up. */
  onUp(): void;
}

type SpawnedProgram = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * One life of a program: a child process in a process group of its own, with a pipe to its standard
 * input that the child takes as "the supervisor lives". When the child exits, whatever is left of
 * its group is killed.
 */
export class ProgramLife {
  /** Settles when the child is gone, its group is swept and its output is read. Never rejects. */
  readonly ended: Promise<LifeEnd>;
  readonly #child: SpawnedProgram;
  readonly #control: ProcessControl;
  readonly #listener: LifeListener;
  readonly #errors = new ErrorLines();
  readonly #upTimer: NodeJS.Timeout | undefined;
  #up = false;
  #gone = false;

  constructor(spec: ProgramSpec, control: ProcessControl, listener: LifeListener) {
    this.#control = control;
    this.#listener = listener;
    const bornMs = performance.now();
    this.#child = spawn(control.execPath, [...PROGRAM_FLAGS, spec.file], {
      env: spec.env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    const exited = whenExited(this.#child);
    if (!spec.announcesStart) this.#upTimer = setTimeout(() => this.#markUp(), UP_ANYWAY_MS);
    const drained = Promise.all([
      this.#read(this.#child.stdout, "stdout"),
      this.#read(this.#child.stderr, "stderr"),
    ]);
    // Nothing is ever written to it: an error is the child's end, which "exit" tells.
    this.#child.stdin.on("error", () => undefined);
    this.ended = this.#end(bornMs, exited, drained);
  }

  /** Process id; undefined when the child could not be run. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether the program is running and has started. */
  get isUp(): boolean {
    return this.#up && !this.#gone;
  }

  /** Asks the program to stop: closes its standard input and sends SIGTERM. */
  requestStop(): void {
    this.#child.stdin.end();
    this.#signal("SIGTERM", this.pid);
  }

  /** Kills the program and its group. */
  kill(): void {
    if (!this.#gone && this.pid !== undefined) this.#signal("SIGKILL", -this.pid);
  }

  async #end(bornMs: number, exited: Promise<Exit>, drained: Promise<unknown>): Promise<LifeEnd> {
    const exit = await exited;
    const livedMs = performance.now() - bornMs;
    clearTimeout(this.#upTimer);
    await this.#sweep();
    this.#gone = true;
    const cut = setTimeout(() => {
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
    }, PIPES_LIMIT_MS);
    await drained;
    clearTimeout(cut);
    this.#child.stdin.destroy();
    return { ...exit, livedMs, wasUp: this.#up, lastError: this.#errors.telling() };
  }

  /** Kills what is left of the group, and waits until the system has taken it away. */
  async #sweep(): Promise<void> {
    if (this.pid === undefined) return;
    const deadlineMs = performance.now() + SWEEP_LIMIT_MS;
    while (this.#signal("SIGKILL", -this.pid) && performance.now() < deadlineMs) {
      await delay(SWEEP_CHECK_MS);
    }
  }

  #read(stream: Readable, name: "stdout" | "stderr"): Promise<void> {
    const splitter = new LineSplitter();
    const take = (lines: readonly string[]) => {
      for (const line of lines) this.#takeLine(name, line);
    };
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => take(splitter.push(text)));
    return new Promise((resolve) => {
      stream.on("error", (error) => take([`${name} cannot be read: ${messageOf(error)}`]));
      stream.on("close", () => {
        take(splitter.flush());
        resolve();
      });
    });
  }

  #takeLine(stream: "stdout" | "stderr", line: string): void {
    if (stream === "stderr") this.#errors.add(line);
    this.#listener.onLine(stream, line);
    if (stream === "stdout" && !this.#up && line.includes(STARTED_MARK)) this.#markUp();
  }

  #markUp(): void {
    if (this.#up || this.#gone) return;
    this.#up = true;
    clearTimeout(this.#upTimer);
    this.#listener.onUp();
  }

  /** Whether there was a process to take the signal. */
  #signal(signal: NodeJS.Signals, target: number | undefined): boolean {
    if (target === undefined || this.#gone) return false;
    try {
      this.#control.kill(target, signal);
      return true;
    } catch (thrown) {
      // ESRCH: already gone, which is what was wanted. Anything else is a failure worth seeing.
      if (errorCodeOf(thrown) !== "ESRCH") {
        this.#listener.onLine("stderr", `${signal} could not be sent: ${messageOf(thrown)}`);
      }
      return false;
    }
  }
}

type Exit = Pick<LifeEnd, "how" | "wasKilled">;

/** How the child ended. An error of a child that runs is a signal's and no end. */
function whenExited(child: SpawnedProgram): Promise<Exit> {
  return new Promise((resolve) => {
    child.on("error", (error) => {
      if (child.pid !== undefined) return;
      resolve({ how: `could not be run: ${error.message}`, wasKilled: false });
    });
    child.on("exit", (code, signal) => {
      const wasKilled = signal !== null;
      resolve({ how: wasKilled ? `exited with ${signal}` : `exited with code ${code}`, wasKilled });
    });
  });
}
