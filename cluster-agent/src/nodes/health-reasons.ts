import type { HealthFact } from "./health-facts.ts";
import type { Liveness } from "./liveness.ts";
import { shownText } from "./shown-text.ts";

const MAX_REASON = 200;

/** The text of an XID in a kernel-log line, behind its code and the program that the driver blames. */
const XID_LINE = /\bXid \([^)]{1,64}\): \d{1,6},? ?(.*)$/i;
const BLAMED = /^(?:pid=[^,]{0,128}|name=[^,]{0,128}),? ?/;

const WORDS: Readonly<Record<string, string>> = {
  ecc_uncorrected: "uncorrected ECC errors",
  row_remap_pending: "row remap pending",
  row_remap_failed: "row remap failed",
  fallen_off_bus: "GPU has fallen off the bus",
  driver_hung: "nvidia-smi hangs",
};

/** What a fact says in a few words: "XID 79: GPU has fallen off the bus", "row remap failed". */
export function factReason({ kind, code, evidence }: HealthFact): string {
  const words = WORDS[kind] ?? kind.replaceAll("_", " ");
  if (code === undefined) return words;
  const name = kind === "xid" || kind === "sxid" ? kind.toUpperCase() : words;
  const said = kind === "xid" ? xidText(evidence) : "";
  return shownText(said === "" ? `${name} ${code}` : `${name} ${code}: ${said}`, MAX_REASON);
}

/** What is known of a node that is not live. */
export interface NodeSilence {
  readonly liveness: Liveness;
  /** Two agents speak for it. */
  readonly isDuplicate: boolean;
  /** Time since it was heard, ms. */
  readonly silentMs: number;
  readonly ttlMs: number;
}

/**
 * Why a node is unhealthy, undefined when it is live. The text stays the same while the node is silent, so
 * that a document which holds it does not change by the second.
 */
export function nodeReason(node: NodeSilence): string | undefined {
  if (node.liveness === "live") return undefined;
  if (node.isDuplicate) return "telemetry lost: two agents run as this node";
  if (node.liveness === "unknown") return "not heard since the cluster-agent started";
  return `telemetry lost: silent for more than ${seconds(node.ttlMs)} s`;
}

/** {@link nodeReason} with how long the node has been silent. */
export function timedNodeReason(node: NodeSilence): string | undefined {
  if (node.liveness !== "telemetry_lost" || node.isDuplicate) return nodeReason(node);
  return `telemetry lost: silent for ${seconds(node.silentMs)} s`;
}

function seconds(ms: number): number {
  return Math.floor(ms / 1_000);
}

function xidText(line: string): string {
  let text = XID_LINE.exec(line)?.[1] ?? "";
  for (let rest = text.replace(BLAMED, ""); rest !== text; rest = text.replace(BLAMED, "")) {
    text = rest;
  }
  return text.replace(/\.+$/, "").trim();
}
