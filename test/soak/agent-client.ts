/** An answer of an agent's API; undefined stands for none: the agent died. */
export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field, as clients without types do
  readonly body: any;
}

const LIMIT_MS = 30_000;

/** Asks an agent; undefined when it is not there any more. */
export async function ask(
  url: string,
  method: "GET" | "POST" | "DELETE",
  body?: object,
): Promise<Answer | undefined> {
  try {
    const response = await fetch(url, {
      method,
      signal: AbortSignal.timeout(LIMIT_MS),
      ...(body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return undefined;
  }
}
