import { type ChangeSpan, givenSince, netTowards } from "./change-spans.ts";
import type { Direction, DirectionRules, RatePolicy } from "./guard-rules.ts";

const PERCENT = 100;

/** How far a change may go, and by which policy. */
export interface RateLimit {
  /** Most replicas after a scale-up, fewest after a scale-down. */
  readonly replicas: number;
  readonly policy: RatePolicy;
  /** Replicas at the start of the policy's period. */
  readonly start: number;
}

/**
 * How far the rate policies let a change of a direction go at `nowMs`, as HPA does: each policy
 * counts from the replicas at the start of its period, which are today's without the changes made
 * since. Where people have undone such a change, or set other replicas, it counts from no more (up)
 * or fewer (down) than there were at the start or were set by them. Undefined when there is no
 * policy; what `select: "disabled"` means is up to the caller.
 */
export function rateLimit({
  rules,
  direction,
  current,
  changes,
  nowMs,
}: {
  readonly rules: DirectionRules;
  readonly direction: Direction;
  readonly current: number;
  readonly changes: readonly ChangeSpan[];
  readonly nowMs: number;
}): RateLimit | undefined {
  const limits = rules.ratePolicies.map((policy) => {
    const sinceMs = nowMs - 1_000 * policy.periodSeconds;
    const net = netTowards(changes, direction, sinceMs);
    const { least, most } = givenSince(changes, current, sinceMs);
    const start =
      direction === "up"
        ? Math.max(0, Math.min(current - net, most))
        : Math.max(current + net, least);
    const replicas = direction === "up" ? mostAfter(policy, start) : fewestAfter(policy, start);
    return { replicas, policy, start };
  });
  // The widest limit is the highest of scale-ups, and the lowest of scale-downs.
  const isHighest = (direction === "up") === (rules.select === "max");
  const [first, ...others] = limits;
  if (first === undefined) return undefined;
  return others.reduce((chosen, one) => {
    const isBetter = isHighest ? one.replicas > chosen.replicas : one.replicas < chosen.replicas;
    return isBetter ? one : chosen;
  }, first);
}

/** One more at least: no percentage of no replicas would ever let a subject start. */
function mostAfter({ kind, value }: RatePolicy, start: number): number {
  if (kind === "replicas") return start + value;
  return Math.max(start + 1, Math.ceil((start * (PERCENT + value)) / PERCENT));
}

function fewestAfter({ kind, value }: RatePolicy, start: number): number {
  if (kind === "replicas") return Math.max(0, start - value);
  return Math.max(0, Math.floor((start * (PERCENT - value)) / PERCENT));
}
