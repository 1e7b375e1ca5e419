import { BerthError, boundedText, isJsonObject } from "@berth/service-kit";
import { type Applier, failedResponse } from "./applier.ts";
import { readConfirmation } from "./scale-messages.ts";
import type { ScaleResponse } from "./scale-request.ts";

/** Longest time for an external allocator to accept or refuse, ms. */
const ANSWER_MS = 15_000;
const MAX_REPLY_BYTES = 64 * 1024;

/**
 * Leaves requests to an allocator of the org's own: `POST <url>/allocate {uuid, subject_id, replicas}`. It answers `{"success": true}`
 * when it accepts, and confirms later; or with the confirmation at once: `{"uuid", "response": {"status", "replicas"}}`, or the response
 * alone. What it refuses (4xx, `success: false`) has failed; what does not answer is asked again, with the same uuid.
 */
export function externalApplier(url: string): Applier {
  return {
    async apply({ uuid, subjectId, replicas, before }, { signal }) {
      const answer = await post(
        `${url.replace(/\/+$/, "")}/allocate`,
        { uuid, subject_id: subjectId, replicas },
        signal,
      );
      if (answer.isAccepted) {
        const response = answer.status === 202 ? undefined : responseOf(uuid, answer.body);
        return response === undefined ? undefined : { response };
      }
      return { response: failedResponse(answer.message, before), isUntouched: true };
    },
  };
}

type Body = Readonly<Record<string, unknown>>;

/** What the allocator said. */
interface Answer {
  readonly status: number;
  readonly isAccepted: boolean;
  /** Why it refuses. */
  readonly message: string;
  readonly body: Body;
}

async function post(url: string, body: object, signal: AbortSignal): Promise<Answer> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      redirect: "error",
      signal: late,
    });
    const { status } = answer;
    const told = bodyOf((await boundedText(answer, MAX_REPLY_BYTES)).text);
    if (status >= 500 || status === 429) throw silent(`it answered ${status}`);
    const { success, error, message = error } = told;
    const why = typeof message === "string" ? message : `the allocator answered ${status}`;
    return { status, isAccepted: answer.ok && success !== false, message: why, body: told };
  } catch (thrown) {
    if (thrown instanceof BerthError) throw thrown;
    signal.throwIfAborted();
    throw silent("it did not answer");
  }
}

function bodyOf(text: string): Body {
  try {
    const body: unknown = JSON.parse(text);
    return isJsonObject(body) ? body : {};
  } catch {
    return {};
  }
}

/** What an answer confirms of its request; undefined when that is to come. */
function responseOf(uuid: string, body: Body): ScaleResponse | undefined {
  const { response = body.replicas === undefined ? undefined : body } = body;
  if (!isJsonObject(response) || (body.uuid !== undefined && body.uuid !== uuid)) return undefined;
  const confirmation = readConfirmation(JSON.stringify({ uuid, response }));
  return "kind" in confirmation ? undefined : confirmation.response;
}

function silent(why: string): BerthError {
  return new BerthError("UNAVAILABLE", `the subjects' allocator cannot be reached: ${why}`);
}
