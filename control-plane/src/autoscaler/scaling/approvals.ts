import {
  BerthError,
  type Bus,
  type Clock,
  isBerthError,
  isJsonObject,
  type Logger,
  type Part,
  Recurring,
  typeName,
} from "@berth/service-kit";
import { approvalAnswerSubject } from "./scale-messages.ts";
import type { Scaling } from "./scaling.ts";

/** A human's word on a request that waits for it. */
export interface ApprovalAnswer {
  readonly uuid: string;
  readonly isApproved: boolean;
  /** Who says so. */
  readonly by: string;
}

const REVIEW_EVERY_MS = 1_000;
const MAX_NAME_CHARACTERS = 253;

/** Reads `{"uuid", "approve": true|false, "by"}`; `by` is who sent it where it does not say. INVALID_ARGUMENT names the field. */
export function readApprovalAnswer(body: unknown, sender: string): ApprovalAnswer {
  if (!isJsonObject(body)) throw invalid(`the answer: expected an object, got ${typeName(body)}`);
  const { uuid, approve, by = sender } = body;
  if (typeof uuid !== "string" || uuid === "") throw invalid("uuid: expected that of a request");
  if (typeof approve !== "boolean") throw invalid("approve: expected true or false");
  return { uuid, isApproved: approve, by: readName("by", by) };
}

/** Reads who says something. INVALID_ARGUMENT names the field. */
export function readName(field: string, value: unknown): string {
  const isName = typeof value === "string" && value !== "" && value.length <= MAX_NAME_CHARACTERS;
  if (isName && !/[\r\n]/.test(value)) return value;
  throw invalid(`${field}: expected a name of 1-${MAX_NAME_CHARACTERS} characters on one line`);
}

/** What {@link approvalListener} works with. */
export interface ApprovalDeps {
  readonly orgId: string;
  readonly bus: Pick<Bus, "subscribe">;
  readonly scaling: Pick<Scaling, "decide" | "reviewApprovals">;
  readonly clock: Pick<Clock, "timestamp">;
  readonly logger: Logger;
}

/** Hears answers on the bus, and rejects or withdraws what nobody has answered in time, or can agree to any more. An answer that changes nothing is told in the log. */
export function approvalListener(deps: ApprovalDeps): Part {
  const { orgId, bus, scaling, clock, logger } = deps;
  let subscription: { stop(): Promise<void> } | undefined;
  const hear = async (text: string) => {
    try {
      const { uuid, isApproved, by } = readApprovalAnswer(JSON.parse(text), "the bus");
      await scaling.decide(uuid, isApproved, by);
    } catch (thrown) {
      const isOurs = isBerthError(thrown) && thrown.reason !== "UNAVAILABLE";
      // What the store does not take now comes again.
      if (!isOurs && !(thrown instanceof SyntaxError)) throw thrown;
      logger.warn("an answer to an approval changed nothing", { why: thrown.message });
    }
  };
  const review = new Recurring({
    ...{ name: "approvals", everyMs: REVIEW_EVERY_MS },
    task: () => scaling.reviewApprovals(Date.parse(clock.timestamp())),
    onFailure: (err) => logger.error("approvals were not looked at", { err }),
  });
  return {
    name: review.name,
    async start() {
      subscription = await bus.subscribe({
        subject: approvalAnswerSubject(orgId),
        name: "berth-approvals",
        handler: ({ text }) => hear(text),
      });
      await review.start();
    },
    async stop() {
      await subscription?.stop();
      await review.stop();
    },
  };
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
