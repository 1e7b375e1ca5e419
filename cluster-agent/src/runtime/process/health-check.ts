import { request } from "node:http";
import { errorCode } from "./error-code.ts";
import { type Health, type HealthAnswer, healthVerdict, unready } from "./health-verdict.ts";

/** A check answers within this, in ms, or has failed. */
const DEADLINE_MS = 2_000;
const MAX_BODY_BYTES = 65_536;

/** What a check came to. */
export interface CheckedHealth {
  readonly health: Health;
  /** Somebody listens on the port. */
  readonly isHeard: boolean;
}

/** Asks 127.0.0.1:`port` for `GET /health`. Never rejects. */
export async function checkHealth(port: number, signal: AbortSignal): Promise<CheckedHealth> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  try {
    const answer = await get(port, AbortSignal.any([signal, deadline]));
    return { health: healthVerdict(answer), isHeard: true };
  } catch (thrown) {
    if (deadline.aborted) {
      return { health: unready(`GET /health did not answer in ${DEADLINE_MS} ms`), isHeard: true };
    }
    if (errorCode(thrown) === "ECONNREFUSED") {
      const message = `nothing listens on its control port: it must answer GET /health on 127.0.0.1:${port} (BERTH_CONTROL_PORT)`;
      return { health: unready(message), isHeard: false };
    }
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return { health: unready(`GET /health failed: ${why.slice(0, 200)}`), isHeard: true };
  }
}

function get(port: number, signal: AbortSignal): Promise<HealthAnswer> {
  return new Promise((resolve, reject) => {
    const target = { host: "127.0.0.1", port, path: "/health", agent: false, signal };
    const asked = request(target, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
        else asked.destroy(new Error(`the answer is larger than ${MAX_BODY_BYTES} bytes`));
      });
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}
