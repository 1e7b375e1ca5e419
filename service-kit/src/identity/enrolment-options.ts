import type { Clock } from "../clock.ts";
import type { BerthError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { DocumentStore, Write } from "../store/document-store.ts";
import type { TokenRecord } from "./token-record.ts";

/** Replaces a subject's key, durably and together with the writes; rejects when nothing was written. */
export type ReplaceKey = (beside: readonly Write[]) => Promise<void>;

/** What `openEnrolment` needs. */
export interface EnrolmentOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** Only its wall clock is used: tokens expire for people. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** Noun of the agents in messages: "cluster" or "node". */
  readonly subject: string;
  /**
   * Text of the enrolment token for agents of this machine (BERTH_LOCAL_TOKEN), made by the
   * supervisor: any number of subjects, never expires. Undefined or "" when there is none.
   */
  readonly localToken?: string | undefined;
  /** Pin of the own CA, put into new tokens; absent without TLS. */
  readonly caPin?: string | undefined;
  /**
   * Called once after each change that ended a subject's key (another key took its place, or the subject was
   * forgotten), when the change is durable and the old key lets nobody in any more. Must not throw: the
   * change stands, but its caller would hear of a failure.
   */
  readonly onKeyEnded?: ((subjectId: string) => void) | undefined;
  /**
   * Asked right before a subject's key would be replaced by a token that was not made for it: gives why not,
   * undefined when it may be. Must not throw.
   */
  readonly refuseReplacement?: ((subjectId: string) => BerthError | undefined) | undefined;
  /**
   * Called when a subject's key is to be replaced: makes the replacement by `replace`, once, with the writes to the same
   * store that must be made with it or not at all. When it rejects, the caller of the enrolment hears why.
   */
  readonly onKeyReplacing?: ((subjectId: string, replace: ReplaceKey) => Promise<void>) | undefined;
  /** Called when a subject has got a key, durably. Must not throw. */
  readonly onKeyGiven?: ((subjectId: string) => void) | undefined;
  /**
   * Called each time that an enrolment under a bound id was refused because another identity asked, with why, for
   * people. Whoever asks may do so as often as it likes. Must not throw.
   */
  readonly onSecondRefused?: ((subjectId: string, why: string) => void) | undefined;
}

/** A new token: the only time that its text is known here. */
export interface CreatedToken {
  readonly token: string;
  readonly record: TokenRecord;
}
