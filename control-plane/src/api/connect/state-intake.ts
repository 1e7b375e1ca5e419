import type { Entry, Event, StateRequest, StateResponse } from "@berth/proto";
import { BerthError, isBerthError, toBerthError, toConnectError } from "@berth/service-kit";
import { checkKey, MAX_STATE_KEYS } from "../../fleet/agent-entries.ts";
import type { AgentSession } from "../../fleet/agent-session.ts";
import type { AdmissionTicket } from "../../fleet/snapshot-admission.ts";
import { type FencedMessage, fencedMessages, type Intake } from "./stream-messages.ts";

const MAX_SNAPSHOT_CHARACTERS = 96 * 1024 * 1024;

type StateReply = Omit<StateResponse, "$typeName" | "$unknown">;
type StateMessage = FencedMessage<StateRequest>;

/** Takes in one State stream: admits its snapshot, and acknowledges each message once it is taken in. */
export async function* takeState(
  intake: Intake,
  requests: AsyncIterable<StateRequest>,
): AsyncGenerator<StateReply> {
  const stream = new StateStream(intake);
  const messages = fencedMessages(intake, "state", requests);
  try {
    let next = heldBack(messages.next());
    for (;;) {
      if (await stream.isAdmittedBefore(next)) {
        yield stream.admission();
        continue;
      }
      const { done, value } = await next;
      if (done === true) return;
      yield await stream.take(value);
      next = heldBack(messages.next());
    }
  } catch (thrown) {
    // Interceptors do not see what a server stream throws after its first message.
    throw toConnectError(thrown);
  } finally {
    stream.leave();
  }
}

/** A promise that may reject before anybody waits for it; whoever awaits it still hears of it. */
function heldBack<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** What one State stream has brought so far. */
class StateStream {
  readonly #intake: Intake;
  #ticket: AdmissionTicket | undefined;
  #isTold = false;
  #ackedSeq = 0n;
  #snapshot: Entry[] = [];
  #characters = 0;

  constructor(intake: Intake) {
    this.#intake = intake;
    intake.signal.addEventListener("abort", () => this.leave(), { once: true });
  }

  /** Whether the turn to send a snapshot comes before the promise resolves; once. */
  async isAdmittedBefore(next: Promise<unknown>): Promise<boolean> {
    const ticket = this.#ticket;
    if (ticket === undefined || this.#isTold) return false;
    return Promise.race([ticket.admitted.then(() => true), next.then(() => false)]);
  }

  /** Tells the agent that its turn has come. */
  admission(): StateReply {
    this.#isTold = true;
    return { ackedStreamSeq: this.#ackedSeq, snapshotAdmitted: true, eventsRefused: "" };
  }

  /** Takes in a message, durably where it must be; gives its acknowledgement. */
  async take({ request, session }: StateMessage): Promise<StateReply> {
    const { agents, receivedBytes } = this.#intake;
    if (request.streamSeq === 1n) this.#ticket = agents.admit(session, receivedBytes);
    if (request.snapshot) this.#takeChunk(session, request);
    else agents.takeState(session, request.entries, false);
    const eventsRefused = await this.#takeEvents(session, request.events);
    const ackedStreamSeq = request.streamSeq;
    this.#ackedSeq = ackedStreamSeq;
    return { ackedStreamSeq, snapshotAdmitted: this.#isTold, eventsRefused };
  }

  /** Gives the place in the queue back. */
  leave(): void {
    this.#ticket?.leave();
    this.#ticket = undefined;
  }

  /** Keeps events; gives why they could not be kept now, else "". A disk that is full must not end the link. */
  async #takeEvents(session: AgentSession, events: readonly Event[]): Promise<string> {
    if (events.length === 0) return "";
    try {
      await this.#intake.events.take(session.cluster.id, events);
      return "";
    } catch (thrown) {
      if (isBerthError(thrown) && thrown.reason === "UNAVAILABLE") return thrown.message;
      throw thrown;
    }
  }

  #takeChunk(session: AgentSession, chunk: StateRequest): void {
    if (this.#ticket === undefined || !this.#isTold) {
      throw new BerthError("PRECONDITION_FAILED", "snapshot: it was not admitted");
    }
    try {
      this.#takeAdmitted(session, chunk);
    } catch (thrown) {
      this.#intake.agents.snapshotRefused(session, toBerthError(thrown).message);
      throw thrown;
    }
  }

  #takeAdmitted(session: AgentSession, { entries, snapshotEnd }: StateRequest): void {
    // Chunks are kept until the last one: only their values are counted, so their keys must be short.
    for (const [index, { key }] of entries.entries()) checkKey(key, index);
    this.#snapshot = this.#snapshot.concat(entries);
    this.#characters += entries.reduce((sum, { json }) => sum + json.length, 0);
    const isTooMany = this.#snapshot.length > MAX_STATE_KEYS;
    if (isTooMany || this.#characters > MAX_SNAPSHOT_CHARACTERS) {
      const message = `entries: a snapshot holds at most ${MAX_STATE_KEYS} entries and ${MAX_SNAPSHOT_CHARACTERS} characters`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    if (!snapshotEnd) return;
    this.#intake.agents.takeState(session, this.#snapshot, true);
    this.#snapshot = [];
    this.#characters = 0;
    this.leave();
  }
}
