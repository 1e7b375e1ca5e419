import {
  type Fingerprint,
  FingerprintSchema,
  type NodeRegisterRequest,
  NodeRegisterRequestSchema,
} from "@berth/proto";
import {
  type BackoffOptions,
  backoffMs,
  type Clock,
  type Logger,
  type Part,
  sleep,
} from "@berth/service-kit/base";
import { create } from "@bufbuild/protobuf";
import type { GpuEvent, GpuInventory, GpuSource } from "../gpu/gpu-source.ts";
import type { HealthSource } from "../health/health-source.ts";
import type { HostFacts, HostSource } from "../host/host-source.ts";
import type { Identity } from "../host/node-identity.ts";
import { join } from "./join.ts";
import { type LinkFailure, linkFailure } from "./link-failure.ts";
import type { NodeServiceClient } from "./node-service-client.ts";
import { type Registration, readRegistration } from "./registration.ts";
import { type ReportPart, ReportSender } from "./report-sender.ts";

/** Who the agent says it is. */
export interface NodeCard {
  readonly nodeId: string;
  readonly incarnation: number;
  readonly identity: Identity;
  readonly agentVersion: string;
  /** UUID of this process: tells its reconnects from another agent on a copy of its state. */
  readonly instanceId: string;
  /** Those of the processes before it on its state, oldest first. */
  readonly formerInstanceIds: readonly string[];
  /** SHA-256 of the agent's own key, which is enrolled when the cluster-agent does not know it. */
  readonly keySha256: Uint8Array;
}

/** An agent that knows who it is. */
export interface OpenedAgent {
  readonly card: NodeCard;
  /** Keeps that the cluster-agent has answered this start. */
  readonly wasAnswered: () => Promise<void>;
  /** Makes a client, a new one per session; rejects when the server cannot be trusted. */
  readonly dial: (signal: AbortSignal) => Promise<NodeServiceClient>;
}

/** What a {@link NodeLink} works with. */
export interface NodeLinkOptions {
  /** Reads state and key at start; rejects when the agent cannot have them. */
  readonly open: () => Promise<OpenedAgent>;
  readonly gpu: GpuSource;
  readonly host: HostSource;
  readonly health: HealthSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timings?: LinkTimings;
}

/** Times of {@link NodeLink}. */
export interface LinkTimings {
  readonly registerTimeoutMs: number;
  /** How long the first registration waits for the GPUs; they are reported when they are known. */
  readonly gpuGraceMs: number;
  /** A session that lasts this long counts as a success: the back-off begins anew after it. */
  readonly steadyMs: number;
  readonly backoff: BackoffOptions;
}

/** Times for use in production. */
export const LINK_TIMINGS: LinkTimings = {
  registerTimeoutMs: 10_000,
  gpuGraceMs: 1_500,
  steadyMs: 5_000,
  backoff: { firstMs: 200, capMs: 10_000 },
};

/** How the link does, for those who watch the agent. */
export interface LinkStatus {
  /** Registered, with an open stream. */
  readonly connected: boolean;
  /** Registrations so far. */
  readonly registrations: number;
  /** Sessions that failed so far, before or after their registration. */
  readonly failures: number;
}

const GPU_PARTS: Readonly<Record<GpuEvent, ReportPart>> = {
  samples: "gpus",
  details: "details",
  inventory: "fingerprint",
};

/** A fingerprint and what it was made of. */
interface Known {
  readonly inventory: GpuInventory;
  readonly facts: HostFacts | undefined;
  readonly fingerprint: Fingerprint;
}

/** The link to the cluster-agent: register, report until the stream ends, wait, again. */
export class NodeLink implements Part {
  readonly name = "cluster link";
  readonly #options: NodeLinkOptions;
  readonly #timings: LinkTimings;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #lastProblem = "";
  #known: Known | undefined;
  #status: LinkStatus = { connected: false, registrations: 0, failures: 0 };

  constructor(options: NodeLinkOptions) {
    this.#options = options;
    this.#timings = options.timings ?? LINK_TIMINGS;
  }

  /** Resolves when the agent knows who it is and dials; rejects when its state cannot be written. */
  async start(): Promise<void> {
    const agent = await this.#options.open();
    this.#running = this.#run(agent, this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** How the link does now. */
  status(): LinkStatus {
    return this.#status;
  }

  async #run(agent: OpenedAgent, signal: AbortSignal): Promise<void> {
    const { gpu, host, health, clock } = this.#options;
    const { gpuGraceMs } = this.#timings;
    const gpusKnown = Promise.race([gpu.ready, sleep(gpuGraceMs, signal)]);
    await Promise.race([Promise.all([gpusKnown, host.ready, health.ready]), whenAborted(signal)]);
    let failures = 0;
    while (!signal.aborted) {
      const beganMs = clock.nowMs();
      const failure = await this.#session(agent, signal);
      if (signal.aborted) return;
      const steady = clock.nowMs() - beganMs >= this.#timings.steadyMs;
      failures = steady && !failure?.refused ? 1 : failures + 1;
      const { firstMs, capMs } = this.#timings.backoff;
      // What a person has to mend is not tried more often than at the cap.
      const first = failure?.refused ? capMs : firstMs;
      const delayMs = backoffMs(failures, { ...this.#timings.backoff, firstMs: first });
      await sleep(delayMs, signal);
    }
  }

  async #session(agent: OpenedAgent, signal: AbortSignal): Promise<LinkFailure | undefined> {
    let client: NodeServiceClient | undefined;
    try {
      client = await agent.dial(signal);
      const reason = await this.#registerAndReport(agent, client, signal);
      this.#options.logger.info("the cluster-agent asks to register again", { reason });
      return undefined;
    } catch (thrown) {
      if (signal.aborted) return undefined;
      const failure = linkFailure(thrown);
      this.#status = { ...this.#status, failures: this.#status.failures + 1 };
      // Also who is refused beside another agent is known by its start from then on.
      if (failure.code === "ALREADY_EXISTS") await this.#keepAnswered(agent);
      this.#tell(failure);
      return failure;
    } finally {
      this.#status = { ...this.#status, connected: false };
      client?.close();
    }
  }

  async #registerAndReport(
    agent: OpenedAgent,
    client: NodeServiceClient,
    signal: AbortSignal,
  ): Promise<string> {
    const { gpu, host, health } = this.#options;
    const { card } = agent;
    const registered = this.#fingerprint(card);
    const response = await join(client, {
      register: registerRequest(card, registered),
      keySha256: card.keySha256,
      call: { timeoutMs: this.#timings.registerTimeoutMs, signal },
      onEnrolled: () => this.#tellEnrolled(card),
    });
    const registration = readRegistration(response);
    if (registration === undefined) throw new Error("the cluster-agent gave no registration_id");
    this.#tellRegistered(registration);
    await this.#keepAnswered(agent);
    const call = client.report();
    const sender = new ReportSender({
      registrationId: registration.registrationId,
      registered,
      content: {
        fingerprint: () => this.#fingerprint(card),
        host: () => host.sample(),
        gpus: () => gpu.samples(),
        health: () => health.report(),
      },
      write: (message, sent) => call.write(message, sent),
    });
    const unsubscribe = [
      gpu.subscribe((event) => sender.mark(GPU_PARTS[event])),
      host.subscribe((event) => sender.mark(event === "sample" ? "host" : "fingerprint")),
      health.subscribe(() => sender.mark("health")),
    ];
    const cancel = () => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    try {
      gpu.setIntervalMs(registration.gpuIntervalMs);
      host.setIntervalMs(registration.hostIntervalMs);
      sender.mark("fingerprint", "host", "gpus", "details", "health");
      if (signal.aborted) cancel();
      return (await call.ended).reason.slice(0, 300);
    } finally {
      signal.removeEventListener("abort", cancel);
      for (const end of unsubscribe) end();
    }
  }

  /** Made anew only when a source has another inventory or other facts: it is asked for with every round. */
  #fingerprint(card: NodeCard): Fingerprint {
    const inventory = this.#options.gpu.inventory();
    const facts = this.#options.host.facts();
    const known = this.#known;
    if (known?.inventory === inventory && known.facts === facts) return known.fingerprint;
    const { gpus, error, topology } = inventory;
    const fingerprint = create(FingerprintSchema, {
      ...facts,
      identity: card.identity,
      gpus: [...gpus],
      gpuError: error,
      ...(topology === undefined ? {} : { gpuTopology: topology }),
    });
    this.#known = { inventory, facts, fingerprint };
    return fingerprint;
  }

  /** A full disk must not cut the link: the next session tries again. */
  async #keepAnswered({ wasAnswered }: OpenedAgent): Promise<void> {
    try {
      await wasAnswered();
    } catch (err) {
      this.#options.logger.warn("that this start was answered is not kept", { err });
    }
  }

  #tellEnrolled({ nodeId }: NodeCard): void {
    this.#options.logger.info("enrolled with the cluster-agent; from now on the own key counts", {
      nodeId,
    });
  }

  #tellRegistered(registration: Registration): void {
    this.#lastProblem = "";
    const { registrations } = this.#status;
    this.#status = { ...this.#status, connected: true, registrations: registrations + 1 };
    const { nodeId, clusterId, gpuIntervalMs, hostIntervalMs } = registration;
    const fields = { nodeId, clusterId, gpuIntervalMs, hostIntervalMs };
    this.#options.logger.info("registered with the cluster-agent", fields);
  }

  /** Logs a failure once until another one, or a registration, comes between. */
  #tell(failure: LinkFailure): void {
    const { code, message, field, hint, refused } = failure;
    const problem = `${code} ${field}`;
    if (this.#lastProblem === problem) return;
    this.#lastProblem = problem;
    const { logger } = this.#options;
    if (refused) logger.error("the cluster-agent refuses this node", { code, message, hint });
    else logger.warn("no link to the cluster-agent, trying again", { code, message });
  }
}

function registerRequest(card: NodeCard, fingerprint: Fingerprint): NodeRegisterRequest {
  return create(NodeRegisterRequestSchema, {
    nodeId: card.nodeId,
    nodeIncarnation: BigInt(card.incarnation),
    fingerprint,
    agentVersion: card.agentVersion,
    agentInstanceId: card.instanceId,
    formerInstanceIds: [...card.formerInstanceIds],
  });
}

function whenAborted(signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => aborted.resolve(), { once: true });
  if (signal.aborted) aborted.resolve();
  return aborted.promise;
}
