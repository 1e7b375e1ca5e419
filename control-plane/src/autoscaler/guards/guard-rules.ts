/** Whether replicas are added or taken away. */
export type Direction = "up" | "down";

/** Most that changes of one direction may come to within a period. */
export interface RatePolicy {
  /** What `value` counts: replicas, or percents of the replicas at the start of the period. */
  readonly kind: "replicas" | "percent";
  /** A whole number from 1. */
  readonly value: number;
  /** 1-3600 s. */
  readonly periodSeconds: number;
}

/** What bounds the changes of one direction. */
export interface DirectionRules {
  /**
   * 0-3600 s. Of what was wanted within this time the most careful counts: the lowest for scale-up,
   * the highest for scale-down. 0 counts only what is wanted now.
   */
  readonly stabilizationSeconds: number;
  /** 0-86400 s that pass between one change of this direction and the next. */
  readonly cooldownSeconds: number;
  /** None: no limit. */
  readonly ratePolicies: readonly RatePolicy[];
  /**
   * The policy that counts: that which lets most through, that which lets least through; or no
   * change at all.
   */
  readonly select: "max" | "min" | "disabled";
}

/**
 * Most changes of direction within a time. When that many were made, changes of both directions are
 * held.
 */
export interface FlapBudget {
  /** 1-100. */
  readonly maxReversals: number;
  /** 1-86400 s. A reversal counts while the change before it is within this time, too. */
  readonly windowSeconds: number;
}

/** Changes that a person has to approve. A count that is absent bounds nothing. */
export interface ApprovalRules {
  /** Scale-ups to more replicas than this. */
  readonly replicasAbove?: number;
  /** Changes by more replicas than this, of both directions. */
  readonly changeAbove?: number;
}

/**
 * What stands between the replicas that a workflow wants for a subject and the request that is
 * made.
 */
export interface GuardRules {
  /** 0 to 1: relative difference from the desired replicas below which nothing changes. */
  readonly tolerance: number;
  readonly scaleUp: DirectionRules;
  readonly scaleDown: DirectionRules;
  readonly flapBudget: FlapBudget;
  /** 1-86400 s: input that is older is stale. */
  readonly staleAfterSeconds: number;
  /** What happens with stale input: nothing, or scale-ups only. */
  readonly onStale: "hold" | "no_scale_down";
  readonly approval: ApprovalRules;
  /** Whether nothing changes at all. */
  readonly isPaused: boolean;
  /** Whether changes are told and not made. */
  readonly isShadow: boolean;
}

/**
 * The rules of a subject for which nothing else is said. Tolerance, stabilization and rates are
 * those of the Kubernetes HorizontalPodAutoscaler v2, which has no cooldown, no flap budget, no
 * stale input and no approval.
 */
export const DEFAULT_GUARD_RULES: GuardRules = {
  tolerance: 0.1,
  scaleUp: {
    stabilizationSeconds: 0,
    cooldownSeconds: 0,
    ratePolicies: [
      { kind: "replicas", value: 4, periodSeconds: 15 },
      { kind: "percent", value: 100, periodSeconds: 15 },
    ],
    select: "max",
  },
  scaleDown: {
    stabilizationSeconds: 300,
    cooldownSeconds: 0,
    ratePolicies: [{ kind: "percent", value: 100, periodSeconds: 15 }],
    select: "max",
  },
  flapBudget: { maxReversals: 6, windowSeconds: 3_600 },
  staleAfterSeconds: 300,
  onStale: "hold",
  approval: {},
  isPaused: false,
  isShadow: false,
};

/** The rules of one direction. */
export function rulesOf(rules: GuardRules, direction: Direction): DirectionRules {
  return direction === "up" ? rules.scaleUp : rules.scaleDown;
}

/**
 * The longest period of the rate policies of both directions, in milliseconds; 0 when there is
 * none.
 */
export function longestPeriodMs({ scaleUp, scaleDown }: GuardRules): number {
  const policies = [...scaleUp.ratePolicies, ...scaleDown.ratePolicies];
  return 1_000 * Math.max(0, ...policies.map(({ periodSeconds }) => periodSeconds));
}

/** How long some rule looks at a change that was made, in milliseconds. */
export function changesKeptMs(rules: GuardRules): number {
  const { scaleUp, scaleDown, flapBudget } = rules;
  const cooldown = Math.max(scaleUp.cooldownSeconds, scaleDown.cooldownSeconds);
  return Math.max(longestPeriodMs(rules), 1_000 * Math.max(cooldown, flapBudget.windowSeconds));
}
