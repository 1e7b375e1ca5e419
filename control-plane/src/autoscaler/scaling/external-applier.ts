import { BerthError, isJsonObject } from "@berth/service-kit";
import { type Applier, failedResponse } from "./applier.ts";

/** Longest time for an external allocator to accept or refuse, ms. */
const ANSWER_MS = 15_000;
const MAX_REPLY_CHARACTERS = 64 * 1024;

/**
 * Leaves requests to an allocator of the org's own: `POST <url>/allocate {uuid, subject_id, replicas}`, which answers
 * `{"success": true}` when it accepts and confirms later on the bus. What it refuses (4xx, `success: false`) has failed; what does not
 * answer is asked again, with the same uuid.
 */
export function externalApplier(url: string): Applier {
  return {
    async apply({ uuid, subjectId, replicas, before }, { signal }) {
      const answer = await post(
        `${url.replace(/\/+$/, "")}/allocate`,
        { uuid, subject_id: subjectId, replicas },
        signal,
      );
      if (answer.isAccepted) return undefined;
      return { response: failedResponse(answer.message, before), isUntouched: true };
    },
  };
}

async function post(
  url: string,
  body: object,
  signal: AbortSignal,
): Promise<{ readonly isAccepted: boolean; readonly message: string }> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      redirect: "error",
      signal: late,
    });
    const told = messageOf((await answer.text()).slice(0, MAX_REPLY_CHARACTERS));
    if (answer.status >= 500 || answer.status === 429) throw silent(`it answered ${answer.status}`);
    const isAccepted = answer.ok && told.success !== false;
    return { isAccepted, message: told.message ?? `the allocator answered ${answer.status}` };
  } catch (thrown) {
    if (thrown instanceof BerthError) throw thrown;
    signal.throwIfAborted();
    throw silent("it did not answer");
  }
}

function messageOf(text: string): { readonly success?: unknown; readonly message?: string } {
  try {
    const body: unknown = JSON.parse(text);
    if (!isJsonObject(body)) return {};
    const { success, error, message = error } = body;
    return { success, ...(typeof message === "string" ? { message } : {}) };
  } catch {
    return {};
  }
}

function silent(why: string): BerthError {
  return new BerthError("UNAVAILABLE", `the subjects' allocator cannot be reached: ${why}`);
}
