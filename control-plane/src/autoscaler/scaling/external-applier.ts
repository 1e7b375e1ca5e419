import { BerthError, boundedText, isJsonObject } from "@berth/service-kit";
import { type Applier, failedResponse } from "./applier.ts";
import { readConfirmation } from "./scale-messages.ts";
import type { ScaleRequest, ScaleResponse } from "./scale-request.ts";

/** Longest time for an external allocator to accept or refuse, ms. */
const ANSWER_MS = 15_000;
const MAX_REPLY_BYTES = 512 * 1024;
/** Of a request that is known already: what many answer when they are asked again for what they are doing. */
const CONFLICT = 409;

/**
 * Leaves requests to an allocator of the org's own: `POST <url>/allocate {uuid, subject_id, replicas}`. It answers `{"success": true}`, 202 or
 * nothing when it accepts, and confirms later; or with the confirmation at once: `{"uuid", "response": {"status", "replicas"}}`, or the
 * response alone. INVALID_ARGUMENT of a URL that is none. What it refuses (4xx, `success: false`) has failed; what does not answer, or not readably, is asked again, with the same
 * uuid. A refusal may then be of the second time alone: nobody knows how many replicas there are, and 409 says that it is being done.
 */
export function externalApplier(url: string): Applier {
  const endpoint = endpointOf(url);
  return {
    async apply(request, { signal, isRepeated }) {
      const { uuid, subjectId, replicas } = request;
      const answer = await post(endpoint, { uuid, subject_id: subjectId, replicas }, signal);
      if (answer.isAccepted) {
        const response = answer.status === 202 ? undefined : responseOf(uuid, answer.body);
        return response === undefined ? undefined : { response };
      }
      if (!isRepeated) {
        return {
          response: failedResponse(answer.message, knownBefore(request)),
          isUntouched: true,
        };
      }
      if (answer.status === CONFLICT) return undefined;
      return { response: failedResponse(answer.message) };
    },
  };
}

/** Replicas that there are when nothing comes of a request; undefined when one before it may have made more. */
function knownBefore({ before, chargedBefore = 0 }: ScaleRequest): number | undefined {
  return chargedBefore > before ? undefined : before;
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

interface Endpoint {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Where requests are posted. INVALID_ARGUMENT names the setting. User and password go into a header: fetch takes none in a URL. */
function endpointOf(text: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    const message = "BERTH_SUBJECT_ALLOCATOR_URL: expected http://… or https://…";
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const user = [url.username, url.password].map(decodeURIComponent).join(":");
  const secret = `Basic ${Buffer.from(user).toString("base64")}`;
  Object.assign(url, { username: "", password: "", hash: "" });
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/allocate`;
  const headers = {
    "content-type": "application/json",
    ...(user === ":" ? {} : { authorization: secret }),
  };
  return { url: url.href, headers };
}

async function post(
  { url, headers }: Endpoint,
  body: object,
  signal: AbortSignal,
): Promise<Answer> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      redirect: "manual",
      signal: late,
    });
    const { status } = answer;
    const { text, isWhole } = await boundedText(answer, MAX_REPLY_BYTES);
    if (status >= 500 || status === 429) throw silent(`it answered ${status}`);
    if (status >= 300 && status < 400) throw silent(`it answered ${status}, and is not followed`);
    const read = isWhole ? bodyOf(text) : undefined;
    if (answer.ok && status !== 202 && read === undefined) {
      throw silent(
        `it answered ${status} with what is no JSON object of ${MAX_REPLY_BYTES} bytes at most`,
      );
    }
    const told = read ?? {};
    const { success, error, message = error } = told;
    const why = typeof message === "string" ? message : `the allocator answered ${status}`;
    return { status, isAccepted: answer.ok && success !== false, message: why, body: told };
  } catch (thrown) {
    if (thrown instanceof BerthError) throw thrown;
    signal.throwIfAborted();
    throw silent("it did not answer");
  }
}

/** Nothing at all is an empty object; undefined when it is none. */
function bodyOf(text: string): Body | undefined {
  if (text.trim() === "") return {};
  try {
    const body: unknown = JSON.parse(text);
    return isJsonObject(body) ? body : undefined;
  } catch {
    return undefined;
  }
}

/** What an answer confirms of its request; undefined when that is to come. UNAVAILABLE when it is of another one. */
function responseOf(uuid: string, body: Body): ScaleResponse | undefined {
  const response = body.response ?? (body.replicas === undefined ? undefined : body);
  if (response === undefined) return undefined;
  if (body.uuid !== undefined && body.uuid !== uuid) throw silent("it answered of another uuid");
  const confirmation = readConfirmation(JSON.stringify({ uuid, response }));
  return "kind" in confirmation ? undefined : confirmation.response;
}

function silent(why: string): BerthError {
  return new BerthError("UNAVAILABLE", `the subjects' allocator cannot be reached: ${why}`);
}
