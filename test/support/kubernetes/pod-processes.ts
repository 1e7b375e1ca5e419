import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { spawnBound } from "@berth/service-kit/testing/bound-process";
import type { ContainerSpec, ProbeSpec } from "./pod.ts";

const KEPT_OUTPUT = 16_000;
/** Between probes of what is not ready yet: tests do not wait for the period of a real kubelet. */
const EAGER_PROBE_MS = 200;
const STANDARD_PERIOD_SECONDS = 10;
const STANDARD_FAILURES = 3;

/** What runs in a container's place. */
export interface ContainerCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** One container's command. */
export interface StartedContainer {
  readonly container: ContainerSpec;
  readonly command: ContainerCommand;
}

/** The local processes that stand for a pod's containers. */
export class PodProcesses {
  readonly #podIP: string;
  readonly #onChange: () => void;
  readonly #stopped = new AbortController();
  readonly #children: readonly ChildProcess[];
  readonly #unready: Set<string>;
  #exitCode: number | undefined;
  #output = "";

  constructor(
    started: readonly StartedContainer[],
    given: { readonly podIP: string; readonly onChange: () => void },
  ) {
    this.#podIP = given.podIP;
    this.#onChange = given.onChange;
    this.#unready = new Set(started.map(({ container }) => container.name));
    this.#children = started.map(({ container, command }) => this.#spawn(container, command));
  }

  /** Of the first process that ended by itself; undefined as long as all run. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** Whether all pass their readiness probe (those without one: run). */
  get isReady(): boolean {
    return this.#unready.size === 0;
  }

  /** What they printed last. */
  get output(): string {
    return this.#output;
  }

  /** SIGTERM, and SIGKILL to who is still there after the grace period; resolves when all have gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped.abort();
    const running = this.#children.filter(isRunning);
    const gone = Promise.all(running.map((child) => once(child, "exit")));
    for (const child of running) child.kill(graceMs > 0 ? "SIGTERM" : "SIGKILL");
    const isGone = new AbortController();
    void wait(graceMs, isGone.signal).then(() => {
      for (const child of running) child.kill("SIGKILL");
    });
    await gone;
    isGone.abort();
  }

  #spawn(container: ContainerSpec, { file, args, cwd, env }: ContainerCommand): ChildProcess {
    const child = spawnBound(file, args, { env, ...(cwd !== undefined && { cwd }) });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        this.#output = (this.#output + chunk).slice(-KEPT_OUTPUT);
      });
    }
    child.once("error", () => this.#gone(127));
    child.once("exit", (code) => this.#gone(code ?? 137));
    void this.#probe(container, child);
    return child;
  }

  #gone(exitCode: number): void {
    if (this.#stopped.signal.aborted) return;
    this.#exitCode ??= exitCode;
    this.#onChange();
  }

  async #probe(container: ContainerSpec, child: ChildProcess): Promise<void> {
    const { startupProbe, readinessProbe, livenessProbe } = container;
    await this.#untilStarted(container, startupProbe);
    let failures = 0;
    while (isRunning(child) && !this.#stopped.signal.aborted) {
      this.#setReady(container.name, await this.#passes(container, readinessProbe));
      failures = (await this.#passes(container, livenessProbe)) ? 0 : failures + 1;
      if (failures >= (livenessProbe?.failureThreshold ?? STANDARD_FAILURES)) child.kill("SIGKILL");
      if (readinessProbe === undefined && livenessProbe === undefined) return;
      await this.#pause(container);
    }
  }

  async #untilStarted(container: ContainerSpec, probe: ProbeSpec | undefined): Promise<void> {
    while (!this.#stopped.signal.aborted && !(await this.#passes(container, probe))) {
      await wait(EAGER_PROBE_MS, this.#stopped.signal);
    }
  }

  async #pause({ name, readinessProbe, livenessProbe }: ContainerSpec): Promise<void> {
    const periods = [readinessProbe, livenessProbe].flatMap((probe) =>
      probe === undefined ? [] : [probe.periodSeconds ?? STANDARD_PERIOD_SECONDS],
    );
    const isEager = this.#unready.has(name) && livenessProbe === undefined;
    await wait(isEager ? EAGER_PROBE_MS : Math.min(...periods) * 1_000, this.#stopped.signal);
  }

  #setReady(name: string, isReady: boolean): void {
    if (this.#stopped.signal.aborted || this.#unready.has(name) !== isReady) return;
    if (isReady) this.#unready.delete(name);
    else this.#unready.add(name);
    this.#onChange();
  }

  /** Whether a probe passes; one that is not by HTTP does. */
  async #passes(container: ContainerSpec, probe: ProbeSpec | undefined): Promise<boolean> {
    if (probe?.httpGet === undefined) return true;
    const { path = "/", port } = probe.httpGet;
    const named = container.ports?.find(({ name }) => name === port)?.containerPort;
    try {
      const reply = await fetch(`http://${this.#podIP}:${named ?? port}${path}`, {
        signal: AbortSignal.timeout((probe.timeoutSeconds ?? 1) * 1_000),
      });
      await reply.body?.cancel();
      return reply.status < 400;
    } catch {
      return false;
    }
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  // An aborted wait is over, which is what was asked for.
  await setTimeout(ms, undefined, { signal }).catch(() => undefined);
}
