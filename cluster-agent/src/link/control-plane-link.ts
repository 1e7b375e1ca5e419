import type { AgentRegisterResponse } from "@berth/proto";
import {
  type AgentIdentity,
  BerthError,
  backoffMs,
  type Clock,
  type Logger,
  type Part,
  sleep,
  toBerthError,
} from "@berth/service-kit";
import type { FetchedPolicy } from "../policies/policy-source.ts";
import type { CommandRunner } from "./command-runner.ts";
import type { EventHold } from "./event-hold.ts";
import {
  type Authority,
  judgeFence,
  type LinkMode,
  type OrderFence,
  renewedFence,
} from "./fence.ts";
import type { FenceStore } from "./fence-store.ts";
import { type LinkFacts, LinkSession } from "./link-session.ts";
import type { Outbox } from "./outbox.ts";
import type { StartHistory } from "./start-history.ts";

/** What {@link ControlPlaneLink} needs. */
export interface ControlPlaneLinkOptions {
  readonly facts: LinkFacts;
  readonly fences: FenceStore;
  /** The agent's starts, told at each registration. */
  readonly starts: StartHistory;
  /** "http://127.0.0.1:7443". */
  readonly url: string;
  /** Who the agent is to the control-plane, and whom it trusts there. */
  readonly identity: AgentIdentity;
  /** Events on their way. */
  readonly outbox: Outbox;
  /** How long events wait that the control-plane does not take. */
  readonly eventHold: EventHold;
  /** What carries out orders; stopped with the link. */
  readonly commands: CommandRunner;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The link as `/readyz` shows it. */
export interface LinkStatus {
  readonly state: "up" | "down";
  readonly mode: LinkMode;
  /** Why the agent only observes. */
  readonly observes?: string;
  readonly controlPlaneUrl: string;
  readonly agentIncarnation: string;
  /** Store and highest term that the agent obeys; absent until a control-plane was obeyed. */
  readonly storeId?: string;
  readonly controllerTerm?: string;
  /** Why the link is or was last down. */
  readonly lastError?: string;
  /** Times that it came up again, since the agent started. */
  readonly reconnects: number;
}

const BACKOFF = { firstMs: 200, capMs: 10_000 } as const;
/** A session that held for so long was a good one: the next failure starts from the first delay. */
const GOOD_SESSION_MS = 5_000;

/**
 * Keeps the agent linked to its control-plane: registers, runs the streams, and begins anew after any
 * failure with a jittered, capped delay. A control-plane that is not there is not a failure to start.
 */
export class ControlPlaneLink implements Part {
  readonly name = "control-plane link";
  readonly #options: ControlPlaneLinkOptions;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;
  #up = false;
  /** Sessions that were registered. */
  #sessions = 0;
  #mode: LinkMode = "obey";
  #observes: string | undefined;
  #lastError: string | undefined;
  #unkeptTerm: string | undefined;
  /** The session that is registered. */
  #session: LinkSession | undefined;

  constructor(options: ControlPlaneLinkOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#loop !== undefined) return;
    await this.#options.commands.resume();
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#options.commands.stop();
  }

  /**
   * Asks the control-plane for a policy: see {@link LinkSession.fetchPolicy}. UNAVAILABLE while the link is down, NOT_FOUND
   * when there is none.
   */
  async fetchPolicy(uri: string, knownDigest: string, signal: AbortSignal): Promise<FetchedPolicy> {
    const session = this.#session;
    if (session === undefined) {
      throw new BerthError("UNAVAILABLE", "the control-plane is not linked");
    }
    try {
      return await session.fetchPolicy(uri, knownDigest, signal);
    } catch (thrown) {
      throw toBerthError(thrown);
    }
  }

  /** The link as it is now. */
  status(): LinkStatus {
    const known = this.#options.fences.known;
    return {
      state: this.#up ? "up" : "down",
      mode: this.#mode,
      ...(this.#observes === undefined ? {} : { observes: this.#observes }),
      controlPlaneUrl: this.#options.url,
      agentIncarnation: String(this.#options.facts.agentIncarnation),
      ...(known ? { storeId: known.storeId, controllerTerm: String(known.controllerTerm) } : {}),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
      reconnects: Math.max(0, this.#sessions - 1),
    };
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const begunAtMs = clock.nowMs();
      const why = await this.#oneSession();
      if (this.#stop.signal.aborted) return;
      failures = clock.nowMs() - begunAtMs >= GOOD_SESSION_MS && this.#up ? 1 : failures + 1;
      this.#down(why);
      await sleep(backoffMs(failures, BACKOFF), this.#stop.signal);
    }
  }

  /** One session; gives why it ended and never rejects. */
  async #oneSession(): Promise<string> {
    const session = new LinkSession(this.#options);
    const close = () => session.close();
    this.#stop.signal.addEventListener("abort", close, { once: true });
    try {
      const registered = await this.#register(session);
      await this.#obey(registered);
      this.#nowUp(registered);
      this.#session = session;
      return await session.run(registered, {
        authority: () => this.#authority(),
        onTold: (told) => this.#keepTerm(told),
      });
    } catch (thrown) {
      const { reason, message, cause } = toBerthError(thrown);
      if (reason === "UNAUTHENTICATED") this.#observe(this.#unknownHere(message));
      const inner = cause instanceof Error && reason === "INTERNAL" ? `: ${cause.message}` : "";
      return `${reason}: ${message}${inner}`;
    } finally {
      this.#stop.signal.removeEventListener("abort", close);
      this.#session = undefined;
      session.close();
    }
  }

  async #register(session: LinkSession): Promise<AgentRegisterResponse> {
    const { starts, fences, facts } = this.#options;
    const { agentInstanceId } = facts;
    // Before it is sent: an answer that gets lost must not make the next start look like a restored copy.
    await starts.begin(agentInstanceId);
    return session.register({ known: fences.known, formerStarts: starts.former });
  }

  #authority(): Authority {
    return { mode: this.#mode, known: this.#options.fences.known };
  }

  /** Keeps the newest name of the term. A store that does not take it gets the next one. */
  async #keepTerm(told: OrderFence): Promise<void> {
    const { fences, logger } = this.#options;
    const renewed = renewedFence(told, this.#authority());
    if (renewed === undefined) return;
    try {
      await fences.renew(renewed);
      this.#unkeptTerm = undefined;
    } catch (err) {
      const why = String(err);
      if (why !== this.#unkeptTerm) logger.error("the name of the term was not kept", { err });
      this.#unkeptTerm = why;
    }
  }

  async #obey(registered: AgentRegisterResponse): Promise<void> {
    const { fences, starts, facts, logger } = this.#options;
    const { adoptedStoreIds, observeReason } = registered;
    const { storeId = "", controllerTerm = 0n, termId = "" } = registered.fence ?? {};
    const offered = { storeId, controllerTerm, termId, adoptedStoreIds, observeReason };
    const verdict = judgeFence(fences.known, offered);
    if (verdict.kind === "refuse") throw new BerthError("CONFLICT", verdict.why);
    if (verdict.kind === "obey") {
      const former = fences.known?.storeId;
      // Not for a store that is only observed: the one that is obeyed never heard of this start.
      await starts.answered(facts.agentInstanceId);
      await fences.keep(verdict.known);
      this.#setMode("obey");
      this.#observes = undefined;
      if (former !== undefined && former !== storeId) {
        logger.warn("the agent obeys another control-plane store from now on", { former, storeId });
      }
      return;
    }
    this.#observe(verdict.why);
  }

  #observe(why: string): void {
    if (this.#observes !== why) {
      this.#options.logger.error("the agent only reports and refuses orders", { why });
    }
    this.#setMode("observe");
    this.#observes = why;
  }

  #setMode(mode: LinkMode): void {
    const { commands, eventHold } = this.#options;
    this.#mode = mode;
    // Events and results are for the store that is obeyed: another one would acknowledge, and lose, them.
    eventHold.observing = mode === "observe";
    commands.observing = mode === "observe";
  }

  /** Also when the control-plane's store was lost: keys are lost with it. */
  #unknownHere(message: string): string {
    const { clusterId } = this.#options.facts;
    const token = `berth token create --cluster ${clusterId}`;
    return `the control-plane does not know this agent (${message}); make a token there (${token}) and start the agent with it in BERTH_ENROLMENT_TOKEN`;
  }

  #nowUp({ sessionId, fence }: AgentRegisterResponse): void {
    this.#up = true;
    this.#sessions += 1;
    this.#options.logger.info("linked to the control-plane", {
      session: sessionId,
      mode: this.#mode,
      controllerTerm: String(fence?.controllerTerm ?? 0n),
    });
  }

  #down(why: string): void {
    // Once per change: a control-plane that is away for a day is one line, not 8,640.
    if (this.#up || this.#lastError !== why) {
      this.#options.logger.warn("not linked to the control-plane, trying again", { why });
    }
    this.#up = false;
    this.#lastError = why;
  }
}
