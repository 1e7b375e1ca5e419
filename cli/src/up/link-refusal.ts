import { at, textAt } from "../cluster-view.ts";
import { portUrl, type UpSettings } from "./environment.ts";

/** Why the control-plane does not take the cluster-agent in. */
export interface LinkRefusal {
  /** Reason of Berth's error table: "ALREADY_EXISTS". */
  readonly reason: string;
  readonly message: string;
}

/** How long a refusal that waiting cannot mend may last, ms. */
export const REFUSAL_LIMIT_MS = 30_000;

/** What the same request will be answered again with, until somebody does something. */
const LASTING_REASONS: ReadonlySet<string> = new Set([
  "ALREADY_EXISTS",
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "PRECONDITION_FAILED",
  "UNAUTHENTICATED",
]);

/**
 * The refusal in a cluster-agent's `/readyz`; undefined while its link is up, when it was never tried, and for
 * failures that pass (a control-plane that is not there yet).
 */
export function readRefusal(readyz: unknown): LinkRefusal | undefined {
  const link = at(readyz, "link");
  if (textAt(link, "state") !== "down") return undefined;
  const [, reason = "", message = ""] =
    /^([A-Z_]+): (.+)$/s.exec(textAt(link, "lastError") ?? "") ?? [];
  return LASTING_REASONS.has(reason) ? { reason, message } : undefined;
}

/** What a person is told of a refusal: what was said, and what helps. */
export function refusalLines(refusal: LinkRefusal, settings: UpSettings): string[] {
  const said = `the control-plane refuses the cluster-agent (${refusal.reason}): ${refusal.message}`;
  const isOther =
    refusal.reason === "ALREADY_EXISTS" && /\bbound to another\b/.test(refusal.message);
  if (!isOther) return [said];
  const { clusterId, host, httpPort } = settings;
  const server = portUrl(host, httpPort);
  const flag = server === "http://127.0.0.1:8000" ? "" : ` --server ${server}`;
  return [
    said,
    `  it is not the agent that has joined as ${clusterId} before: was ${settings.dataDir}/cluster-agent/cluster.db lost or replaced?`,
    "  restore that file from a backup, or forget the agent that was there, in another terminal while this runs:",
    `    npx berth delete cluster ${clusterId} --force${flag}`,
  ];
}

/** Tells when a refusal is new, and when it has lasted too long. */
export class RefusalClock {
  readonly #limitMs: number;
  #refusal: LinkRefusal | undefined;
  #sinceMs = 0;

  /** `limitMs`: how long refusals may follow each other. */
  constructor(limitMs: number = REFUSAL_LIMIT_MS) {
    this.#limitMs = limitMs;
  }

  /** Takes what was seen at `nowMs` (monotonic): undefined is no refusal, and starts the time anew. */
  see(refusal: LinkRefusal | undefined, nowMs: number): { isNew: boolean; isOver: boolean } {
    const former = this.#refusal;
    this.#refusal = refusal;
    if (refusal === undefined) return { isNew: false, isOver: false };
    if (former === undefined) this.#sinceMs = nowMs;
    return {
      isNew: former?.reason !== refusal.reason || former.message !== refusal.message,
      isOver: nowMs - this.#sinceMs >= this.#limitMs,
    };
  }
}
