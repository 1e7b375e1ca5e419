import { BerthError, sleep } from "@berth/service-kit";
import type { OrderHandler, OrderOutcome } from "./order-handler.ts";
import type { RunRecords } from "./run-records.ts";

/** Longest text of an Echo, bytes. */
export const MAX_ECHO_BYTES = 1_024;
/** Longest time between carrying an Echo out and its answer, ms. */
export const MAX_ECHO_HOLD_MS = 60_000;

/**
 * Carries out an Echo: counts the run durably, apart from its result, waits for `hold_ms`, and answers with the
 * text and the count, also when its time is over before the hold. An answer other than 1 shows that a command ran twice. A command that goes on after a crash
 * is not counted again when its record is there.
 */
export function echoHandler(runRecords: RunRecords): OrderHandler {
  return async (order, { commandId, resumed, signal }) => {
    if (order.case !== "echo") return refusal("order: expected echo");
    const { text, holdMs } = order.value;
    if (Buffer.byteLength(text) > MAX_ECHO_BYTES) {
      return refusal(`echo.text: expected at most ${MAX_ECHO_BYTES} bytes`);
    }
    if (holdMs > MAX_ECHO_HOLD_MS) {
      return refusal(`echo.hold_ms: expected at most ${MAX_ECHO_HOLD_MS} ms, got ${holdMs}`);
    }
    const before = runRecords.of(commandId);
    const runs = resumed && before > 0 ? before : await runRecords.count(commandId);
    await sleep(holdMs, signal);
    // It has run: its time being over only ends the wait. A stop of the agent leaves it to the next start.
    if (isCutOff(signal)) throw new BerthError("UNAVAILABLE", "the agent stops");
    return { kind: "result", json: JSON.stringify({ text, runs }), memory: {} };
  };
}

function isCutOff({ aborted, reason }: AbortSignal): boolean {
  return aborted && !(reason instanceof DOMException && reason.name === "TimeoutError");
}

function refusal(message: string): OrderOutcome {
  return { kind: "refusal", reason: "INVALID_ARGUMENT", message };
}
