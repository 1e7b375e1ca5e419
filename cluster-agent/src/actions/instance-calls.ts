/** What an instance answered, or why it did not. */
export type InstanceReply =
  | Readonly<Record<string, unknown>>
  | { readonly success: false; readonly message: string };

const CALL_LIMIT_MS = 10_000;
/** Longest answer of an instance that is read, bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;

/**
 * Posts JSON to an instance and gives what it answered. Never rejects: an instance that does not answer in 10 s, answers too
 * much, or no JSON object, has `success: false` and a message.
 */
export async function tellInstance(call: {
  /** Undefined when it does not serve. */
  readonly url: string | undefined;
  readonly path: string;
  readonly bodyText: string;
  readonly signal: AbortSignal;
}): Promise<InstanceReply> {
  const { url, path, bodyText, signal } = call;
  if (url === undefined) return failed("the instance serves no control port");
  try {
    const response = await fetch(new URL(path, url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: bodyText,
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_LIMIT_MS)]),
    });
    const text = await boundedText(response);
    if (text === undefined) return failed(`it answered more than ${MAX_ANSWER_BYTES} bytes`);
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
      return failed(`it answered ${response.status} with something else than a JSON object`);
    }
    const told = answer as Readonly<Record<string, unknown>>;
    return response.ok || told.success === false ? told : { ...told, success: false };
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return failed("it answered no JSON");
    const late = thrown instanceof DOMException && thrown.name === "TimeoutError";
    return failed(
      late ? `it did not answer in ${CALL_LIMIT_MS} ms` : `it cannot be reached: ${why(thrown)}`,
    );
  }
}

async function boundedText({ body }: Response): Promise<string | undefined> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body ?? []) {
    bytes += piece.byteLength;
    if (bytes > MAX_ANSWER_BYTES) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

function failed(message: string): InstanceReply {
  return { success: false, message };
}

function why(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause instanceof Error ? thrown.cause.message : thrown.message;
}
