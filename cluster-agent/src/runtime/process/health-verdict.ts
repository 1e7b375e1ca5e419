import { isJsonObject } from "@berth/service-kit";

/** What a health check says of an instance. */
export type Health =
  | { readonly isReady: true }
  /** The message is for people. */
  | { readonly isReady: false; readonly message: string };

/** What came back for `GET /health`. */
export interface HealthAnswer {
  readonly status: number;
  readonly body: string;
}

/** Judges an answer: 200, and JSON, when it is any, that neither says `success: false` nor another `data.status` than "healthy". */
export function healthVerdict({ status, body }: HealthAnswer): Health {
  if (status !== 200) return unready(`GET /health answered ${status}, not 200`);
  const answer = jsonObject(body);
  if (answer.success === false) return unready("GET /health answered success: false");
  const state = isJsonObject(answer.data) ? answer.data.status : undefined;
  if (state === undefined || state === "healthy") return { isReady: true };
  const shown = JSON.stringify(state)?.slice(0, 80);
  return unready(`GET /health answered data.status ${shown}, not "healthy"`);
}

/** A check that failed, and why. */
export function unready(message: string): Health {
  return { isReady: false, message };
}

function jsonObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return isJsonObject(value) ? value : {};
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return {};
    throw thrown;
  }
}
