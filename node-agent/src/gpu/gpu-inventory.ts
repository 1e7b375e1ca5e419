import type { GpuInfo } from "@berth/proto";
import { INVENTORY_FIELDS, parseInventoryLine, smiArguments } from "./smi-fields.ts";
import { type SmiCommand, type SmiEnd, SmiProcess } from "./smi-process.ts";

/** Answer of one inventory query. */
export type GpuListing =
  /** The driver listed its GPUs (none is possible); `error` says what it could not list, "" = nothing. */
  | { readonly kind: "listed"; readonly gpus: readonly GpuInfo[]; readonly error: string }
  /** There is no `nvidia-smi` here: a node without GPUs. */
  | { readonly kind: "no_driver" }
  /** There is one, and it failed: `error` is its first line, or what went wrong. */
  | { readonly kind: "failed"; readonly error: string }
  /** It was killed at the deadline and did not die; `gone` resolves should it still do so. */
  | { readonly kind: "driver_hung"; readonly gone: Promise<void> };

/** Deadlines of {@link listGpus}, in ms. */
export interface ListingLimits {
  readonly listDeadlineMs: number;
  readonly abandonAfterMs: number;
}

const MAX_GPUS = 64;
const MAX_ERROR_LENGTH = 300;

/**
 * Asks `nvidia-smi` once for the GPUs of this machine, in the driver's order, each UUID once. Never
 * rejects; ends at the latest `listDeadlineMs + abandonAfterMs` after the call, or soon after `signal`.
 */
export async function listGpus(
  smi: SmiCommand,
  limits: ListingLimits,
  signal: AbortSignal,
): Promise<GpuListing> {
  const gpus = new Map<string, GpuInfo>();
  let firstOtherLine = "";
  const child = new SmiProcess({
    smi,
    args: smiArguments(INVENTORY_FIELDS),
    abandonAfterMs: limits.abandonAfterMs,
    onLine: (line) => {
      const gpu = parseInventoryLine(line);
      if (gpu !== undefined && gpus.size < MAX_GPUS) gpus.set(gpu.uuid, gpu);
      else if (gpu === undefined && firstOtherLine === "") firstOtherLine = line;
    },
  });
  let timedOut = false;
  const kill = () => child.kill();
  const timer = setTimeout(() => {
    timedOut = true;
    kill();
  }, limits.listDeadlineMs);
  signal.addEventListener("abort", kill, { once: true });
  if (signal.aborted) kill();
  const end = await child.ended;
  clearTimeout(timer);
  signal.removeEventListener("abort", kill);
  if (end.kind === "abandoned") return { kind: "driver_hung", gone: child.gone };
  if (timedOut) {
    return { kind: "failed", error: `nvidia-smi did not answer in ${limits.listDeadlineMs} ms` };
  }
  return judge(end, [...gpus.values()], firstOtherLine.slice(0, MAX_ERROR_LENGTH));
}

/** Turns an ended query into a listing; pure. */
export function judge(
  end: Exclude<SmiEnd, { kind: "abandoned" }>,
  gpus: readonly GpuInfo[],
  otherLine: string,
): GpuListing {
  if (end.kind === "not_found") return { kind: "no_driver" };
  if (end.kind === "not_started") {
    return { kind: "failed", error: `nvidia-smi could not be started: ${end.message}` };
  }
  const failed = end.code !== 0;
  if (gpus.length > 0) return { kind: "listed", gpus, error: failed ? otherLine : "" };
  if (otherLine.startsWith("No devices were found")) {
    return { kind: "listed", gpus: [], error: otherLine };
  }
  const how = end.signal === null ? `code ${end.code}` : `signal ${end.signal}`;
  if (otherLine !== "") return { kind: "failed", error: otherLine };
  return { kind: "failed", error: `nvidia-smi ended with ${how} and listed no GPU` };
}
