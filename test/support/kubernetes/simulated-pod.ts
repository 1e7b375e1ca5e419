import { type KubeApi, KubeRefusal } from "./kube-api.ts";
import type { Pod, PodBehaviour, PodStage } from "./pod.ts";
import type { PodProcesses } from "./pod-processes.ts";
import { podStatus } from "./pod-status.ts";

const RETRY_MS = 300;
const STANDARD_BACKOFF_MS = 1_000;
const BACKOFF_GROWTH = 10;
const STANDARD_GRACE_SECONDS = 30;

/** The node of a {@link SimulatedPod}, as the pod sees it. */
export interface PodHost {
  readonly api: KubeApi;
  /** Whether the node is cut off: what its pods do is told to nobody, and nobody tells them anything. */
  isSilent(): boolean;
  behaviourOf(pod: Pod): PodBehaviour;
  newAddress(): string;
  /** Starts what really runs of the pod; undefined when nothing does. */
  startProcesses(
    pod: Pod,
    given: { readonly podIP: string; readonly onChange: () => void },
  ): Promise<PodProcesses | undefined>;
}

/** What a kubelet does for one pod: moves it through its life and reports each step. */
export class SimulatedPod {
  readonly #host: PodHost;
  readonly #ended = new AbortController();
  readonly #done: Promise<void>;
  readonly #podIP: string;
  readonly #startTime = timestamp();
  #pod: Pod;
  #stage: PodStage;
  #processes: PodProcesses | undefined;
  #startedAt = timestamp();
  #isReady = false;
  #isPullError = false;
  #restarts: number;
  #lastExitCode = 0;
  #ordered: number | undefined;
  #terminatingSinceMs: number | undefined;
  #told = "";
  #isPoked = false;
  #wake: () => void = () => undefined;

  constructor(pod: Pod, host: PodHost) {
    this.#pod = pod;
    this.#host = host;
    this.#podIP = pod.status?.podIP ?? host.newAddress();
    // A pod of an earlier kubelet of this node has had its restarts.
    this.#restarts = pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
    this.#stage = { kind: "creating", sinceMs: performance.now() };
    if (pod.status?.phase === "Succeeded") this.#stage = { kind: "ended", exitCode: 0 };
    if (pod.status?.phase === "Failed") this.#stage = { kind: "ended", exitCode: 1 };
    this.#done = this.#live();
  }

  /** The pod as the API server has it last. */
  get pod(): Pod {
    return this.#pod;
  }

  /** What its real processes printed last. */
  get output(): string {
    return this.#processes?.output ?? "";
  }

  /** Takes the pod as the API server has it now. */
  seen(pod: Pod): void {
    this.#pod = pod;
    this.poke();
  }

  /** Looks at once whether there is something to do. */
  poke(): void {
    this.#isPoked = true;
    this.#wake();
  }

  /** Reports its status again, though it is what it was. */
  reportAgain(): void {
    this.#told = "";
    this.poke();
  }

  /** Ends its containers with this exit code; they start again as its restart policy has it. */
  crash(exitCode: number): void {
    this.#ordered = exitCode;
    this.poke();
  }

  /** Forgets it: its processes are killed, nothing is reported any more. */
  async forget(): Promise<void> {
    this.#ended.abort();
    this.poke();
    await this.#done;
    await this.#processes?.stop(0);
  }

  async #live(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      let nextMs = Number.POSITIVE_INFINITY;
      try {
        if (!this.#host.isSilent()) nextMs = await this.#step();
      } catch (thrown) {
        // The watch tells what has become of it, unless the API server is away.
        nextMs = isOvertaken(thrown) ? Number.POSITIVE_INFINITY : RETRY_MS;
      }
      await this.#wait(nextMs);
    }
  }

  async #wait(ms: number): Promise<void> {
    if (!this.#isPoked && ms > 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (Number.isFinite(ms)) setTimeout(resolve, Math.ceil(ms)).unref();
      });
    }
    this.#isPoked = false;
  }

  /** Does what is due; gives the ms until something is due again. */
  async #step(): Promise<number> {
    const behaviour = this.#host.behaviourOf(this.#pod);
    if (this.#pod.metadata.deletionTimestamp !== undefined) return this.#terminate(behaviour);
    const nextMs = await this.#advance(behaviour);
    await this.#report();
    return nextMs;
  }

  async #advance(behaviour: PodBehaviour): Promise<number> {
    const stage = this.#stage;
    if (stage.kind === "creating") return this.#create(behaviour, stage.sinceMs);
    if (stage.kind === "running") return this.#run(behaviour, stage.sinceMs);
    if (stage.kind !== "backoff") return Number.POSITIVE_INFINITY;
    const { backoffMs = STANDARD_BACKOFF_MS } = behaviour;
    const growth = Math.min(2 ** this.#restarts, BACKOFF_GROWTH);
    const leftMs = stage.sinceMs + backoffMs * growth - performance.now();
    if (leftMs > 0) return leftMs;
    this.#restarts += 1;
    return this.#start();
  }

  async #create(behaviour: PodBehaviour, sinceMs: number): Promise<number> {
    if (behaviour.rejected !== undefined) {
      this.#stage = { kind: "rejected", reason: behaviour.rejected };
      return Number.POSITIVE_INFINITY;
    }
    this.#isPullError = behaviour.imagePullError ?? false;
    if (this.#isPullError) return Number.POSITIVE_INFINITY;
    const leftMs = sinceMs + (behaviour.startMs ?? 0) - performance.now();
    return leftMs > 0 ? leftMs : this.#start();
  }

  async #start(): Promise<number> {
    const onChange = () => this.poke();
    this.#processes = await this.#host.startProcesses(this.#pod, { podIP: this.#podIP, onChange });
    this.#startedAt = timestamp();
    this.#ordered = undefined;
    this.#stage = { kind: "running", sinceMs: performance.now() };
    return 0;
  }

  async #run(behaviour: PodBehaviour, sinceMs: number): Promise<number> {
    const ranMs = performance.now() - sinceMs;
    const exitCode = this.#exitCode(behaviour, ranMs);
    if (exitCode !== undefined) return this.#end(exitCode);
    const readyMs = behaviour.neverReady ? Number.POSITIVE_INFINITY : (behaviour.readyMs ?? 0);
    this.#isReady = ranMs >= readyMs && (this.#processes?.isReady ?? true);
    const exitsMs = behaviour.exits?.afterMs ?? Number.POSITIVE_INFINITY;
    const dueMs = [readyMs, exitsMs].filter((ms) => ms > ranMs);
    return Math.min(...dueMs) - ranMs;
  }

  #exitCode({ exits }: PodBehaviour, ranMs: number): number | undefined {
    const due = exits !== undefined && ranMs >= exits.afterMs ? exits.code : undefined;
    return this.#ordered ?? this.#processes?.exitCode ?? due;
  }

  async #end(exitCode: number): Promise<number> {
    await this.#processes?.stop(0);
    this.#processes = undefined;
    this.#isReady = false;
    this.#lastExitCode = exitCode;
    const { restartPolicy = "Always" } = this.#pod.spec;
    const isRestarted =
      restartPolicy === "Always" || (restartPolicy === "OnFailure" && exitCode !== 0);
    this.#stage = isRestarted
      ? { kind: "backoff", sinceMs: performance.now(), exitCode }
      : { kind: "ended", exitCode };
    return 0;
  }

  async #terminate(behaviour: PodBehaviour): Promise<number> {
    if (behaviour.hangsTerminating) return Number.POSITIVE_INFINITY;
    const { metadata } = this.#pod;
    this.#terminatingSinceMs ??= performance.now();
    const graceSeconds = metadata.deletionGracePeriodSeconds ?? STANDARD_GRACE_SECONDS;
    await this.#processes?.stop(graceSeconds * 1_000);
    const leftMs = this.#terminatingSinceMs + (behaviour.terminateMs ?? 0) - performance.now();
    if (leftMs > 0) return leftMs;
    await this.#host.api.request("DELETE", this.#path, {
      body: { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } },
      signal: this.#ended.signal,
    });
    return Number.POSITIVE_INFINITY;
  }

  async #report(): Promise<void> {
    const state = {
      stage: this.#stage,
      isReady: this.#isReady,
      isPullError: this.#isPullError,
      restarts: this.#restarts,
      lastExitCode: this.#lastExitCode,
      startTime: this.#startTime,
      startedAt: this.#startedAt,
      podIP: this.#podIP,
    };
    const told = JSON.stringify({ ...state, stage: this.#stage.kind });
    if (told === this.#told) return;
    const { uid } = this.#pod.metadata;
    await this.#host.api.request("PATCH", `${this.#path}/status`, {
      body: { metadata: { uid }, status: podStatus(this.#pod, state, timestamp()) },
      contentType: "application/strategic-merge-patch+json",
      signal: this.#ended.signal,
    });
    this.#told = told;
  }

  get #path(): string {
    const { namespace, name } = this.#pod.metadata;
    return `/api/v1/namespaces/${namespace}/pods/${name}`;
  }
}

/** Whether the pod has gone, or another of its name has come. */
function isOvertaken(thrown: unknown): boolean {
  return thrown instanceof KubeRefusal && (thrown.status === 404 || thrown.status === 409);
}

/** Now, as Kubernetes writes times. */
function timestamp(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
