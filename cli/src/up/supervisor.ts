import { messageOf } from "../cli-error.ts";
import { type LifeEnd, type ProcessControl, ProgramLife, type ProgramSpec } from "./child.ts";
import {
  afterExit,
  FRESH_STATE,
  RESTART_LIMITS,
  type RestartLimits,
  type RestartState,
} from "./restart-policy.ts";

/** How long programs may take to stop before they are killed, ms. */
export const STOP_LIMIT_MS = 8_000;

/** What the supervisor tells about its programs. */
export interface SupervisorListener {
  onLine(program: string, stream: "stdout" | "stderr", line: string): void;
  /** A program ended that nobody stopped, and starts again in `delayMs`. */
  onRestart(program: string, how: string, delayMs: number): void;
  /** A program that had been restarted runs again. */
  onBack(program: string): void;
}

/** Why the supervisor will not go on. */
export interface GaveUp {
  readonly program: string;
  /** Failed starts in a row. */
  readonly failures: number;
  readonly how: string;
  /** The program's own last words on standard error. */
  readonly lastError: string | undefined;
}

/** What a {@link Supervisor} is made of. */
export interface SupervisorOptions {
  readonly programs: readonly ProgramSpec[];
  readonly control: ProcessControl;
  readonly listener: SupervisorListener;
  readonly restartLimits?: RestartLimits;
  readonly stopLimitMs?: number;
}

interface Supervised {
  readonly spec: ProgramSpec;
  state: RestartState;
  life?: ProgramLife;
  restartTimer?: NodeJS.Timeout;
}

/** Keeps programs running: starts them again when they end, stops them all together. */
export class Supervisor {
  /** Settles when a program failed too often to be started again. The others still run then. */
  readonly gaveUp: Promise<GaveUp>;
  readonly #options: SupervisorOptions;
  readonly #programs: readonly Supervised[];
  readonly #giveUp: (why: GaveUp) => void;
  #stopping: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    const { promise, resolve } = Promise.withResolvers<GaveUp>();
    this.gaveUp = promise;
    this.#giveUp = resolve;
    this.#options = options;
    this.#programs = options.programs.map((spec) => ({ spec, state: FRESH_STATE }));
  }

  /** Starts every program. */
  start(): void {
    for (const program of this.#programs) this.#begin(program);
  }

  /** Names of the programs that are not (yet, or again) up. */
  notUp(): string[] {
    return this.#programs.filter(({ life }) => !life?.isUp).map(({ spec }) => spec.name);
  }

  /** Process ids of the programs that run, by name. */
  pids(): ReadonlyMap<string, number> {
    const pids = new Map<string, number>();
    for (const { spec, life } of this.#programs) {
      if (life?.pid !== undefined) pids.set(spec.name, life.pid);
    }
    return pids;
  }

  /** Stops every program, killing those that take too long. Asking again waits for the same stop. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    for (const { restartTimer } of this.#programs) clearTimeout(restartTimer);
    const lives = this.#programs.flatMap(({ life }) => (life === undefined ? [] : [life]));
    const ended = Promise.all(lives.map((life) => life.ended));
    for (const life of lives) life.requestStop();
    const limit = setTimeout(() => {
      for (const life of lives) life.kill();
    }, this.#options.stopLimitMs ?? STOP_LIMIT_MS);
    await ended;
    clearTimeout(limit);
  }

  #begin(program: Supervised): void {
    const { control, listener } = this.#options;
    const { name } = program.spec;
    const isRestart = program.state !== FRESH_STATE;
    try {
      program.life = new ProgramLife(program.spec, control, {
        onLine: (stream, line) => listener.onLine(name, stream, line),
        onUp: () => {
          if (isRestart && this.#stopping === undefined) listener.onBack(name);
        },
      });
    } catch (thrown) {
      const how = `could not be run: ${messageOf(thrown)}`;
      this.#ended(program, {
        how,
        livedMs: 0,
        wasUp: false,
        wasKilled: false,
        lastError: undefined,
      });
      return;
    }
    void program.life.ended.then((end) => this.#ended(program, end));
  }

  #ended(program: Supervised, end: LifeEnd): void {
    delete program.life;
    if (this.#stopping !== undefined) return;
    const { name } = program.spec;
    const verdict = afterExit(program.state, end, this.#options.restartLimits ?? RESTART_LIMITS);
    if (verdict.kind === "give-up") {
      const { failures } = verdict;
      this.#giveUp({ program: name, failures, how: end.how, lastError: end.lastError });
      return;
    }
    program.state = verdict.state;
    this.#options.listener.onRestart(name, end.how, verdict.delayMs);
    program.restartTimer = setTimeout(() => this.#begin(program), verdict.delayMs);
  }
}
