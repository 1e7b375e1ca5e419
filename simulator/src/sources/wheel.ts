import type { Clock, Logger, Part } from "@berth/service-kit";

/** What a {@link Wheel} works with. */
export interface WheelOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time between two turns, in ms: tasks run that much late at most. */
  readonly turnMs?: number;
}

const TURN_MS = 50;

interface Task {
  readonly run: () => void;
  readonly everyTurns: number;
  /** Turn in which it is due. */
  turn: number;
  live: boolean;
}

/**
 * One timer for many repeating tasks: 100 nodes of a cluster share it. A turn costs what is due in it.
 * A task that is due in turns that were missed runs once for all of them.
 */
export class Wheel implements Part {
  readonly name = "wheel";
  readonly #options: WheelOptions;
  readonly #turnMs: number;
  readonly #due = new Map<number, Task[]>();
  #timer: NodeJS.Timeout | undefined;
  #turn: number;

  constructor(options: WheelOptions) {
    this.#options = options;
    this.#turnMs = options.turnMs ?? TURN_MS;
    this.#turn = this.#now();
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#advance(), this.#turnMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#due.clear();
  }

  /**
   * Runs a task every `everyMs`, `phaseMs` behind the clock's multiples of it, until the returned function
   * is called: tasks of one interval and phase run in one turn, whenever they were given.
   */
  every(everyMs: number, phaseMs: number, run: () => void): () => void {
    const everyTurns = Math.max(1, Math.round(everyMs / this.#turnMs));
    const now = this.#now();
    const behind = (now - Math.round(phaseMs / this.#turnMs)) % everyTurns;
    const turn = now + everyTurns - ((behind + everyTurns) % everyTurns);
    const task: Task = { run, everyTurns, turn, live: true };
    this.#put(task);
    return () => {
      task.live = false;
    };
  }

  #now(): number {
    return Math.floor(this.#options.clock.nowMs() / this.#turnMs);
  }

  #put(task: Task): void {
    const tasks = this.#due.get(task.turn);
    if (tasks === undefined) this.#due.set(task.turn, [task]);
    else tasks.push(task);
  }

  #advance(): void {
    const now = this.#now();
    const due: Task[] = [];
    for (; this.#turn < now; this.#turn += 1) {
      const tasks = this.#due.get(this.#turn + 1);
      if (tasks === undefined) continue;
      due.push(...tasks);
      this.#due.delete(this.#turn + 1);
    }
    for (const task of due) {
      if (!task.live) continue;
      const missed = Math.floor((now - task.turn) / task.everyTurns);
      task.turn += (missed + 1) * task.everyTurns;
      this.#put(task);
      this.#run(task);
    }
  }

  #run(task: Task): void {
    try {
      task.run();
    } catch (err) {
      this.#options.logger.error("a simulated source failed", { err });
    }
  }
}
