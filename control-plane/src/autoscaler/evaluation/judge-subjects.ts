import { toBerthError } from "@berth/service-kit";
import { replicaBounds } from "../../org/profiles/replica-bounds.ts";
import type { KeptQuota, Quota } from "../../org/quotas/quota.ts";
import { guard, type Verdict } from "../guards/guard.ts";
import type { SubjectHistory } from "../guards/subject-history.ts";
import type { AskedReplicas } from "../scaling/scaling.ts";
import { type AutoscaleRules, guardsOf } from "../settings/autoscale-rules.ts";
import type { Decision, ReplicaChange } from "../workflows/decision.ts";
import type { SubjectDecision } from "./evaluation-record.ts";

/** What is known while subjects are judged. */
export interface JudgingScene {
  readonly evaluationId: string;
  /** Quotas of all subjects that have some. */
  readonly quotas: ReadonlyMap<string, readonly KeptQuota[]>;
  readonly rules: AutoscaleRules;
  /** Nothing is asked for, whatever the rules say. */
  readonly isShadow: boolean;
  /** Age of what is known of a subject, ms. */
  readonly ageMsOf: (subjectId: string) => number;
  /** Quotas with a request that is under way; one of the autoscaler's own that waits for a human is none. */
  readonly busy: ReadonlySet<string>;
  /** Replicas that the autoscaler has asked a human for, by quota. */
  readonly waiting: ReadonlyMap<string, number>;
  /** Whether a human has just refused so many replicas of a quota, or did not approve them in time. */
  readonly isRefused: (quotaId: string, replicas: number) => boolean;
  readonly historyOf: (quota: Quota) => SubjectHistory;
  /** Unix time, ms. */
  readonly nowMs: number;
}

/** A decision, with what it asks for and what is to be remembered. */
export interface Judged {
  readonly decision: SubjectDecision;
  readonly asked?: AskedReplicas;
  /** Quotas whose requests that wait for a human are wanted no more. */
  readonly withdrawn?: readonly string[];
  readonly remember?: {
    readonly quotaId: string;
    readonly history: SubjectHistory;
    /** The one that it was judged on. */
    readonly from: SubjectHistory;
  };
}

/**
 * Judges what a workflow wants, subject after subject, and then those that it did not name, so that every subject with a quota has its
 * reason. Pure but for the scene; yields so that others may have their turn.
 */
export function* judgeSubjects(
  { changes, refusals }: Extract<Decision, { kind: "read" }>,
  scene: JudgingScene,
): Generator<void, readonly Judged[]> {
  const judged: Judged[] = [];
  const named = new Set<string>();
  for (const change of changes) {
    named.add(change.subjectId);
    judged.push(judgeChange(change, scene));
    yield;
  }
  for (const { subjectId, reason } of refusals) {
    named.add(subjectId);
    const [kept, ...others] = scene.quotas.get(subjectId) ?? [];
    const quota = others.length === 0 ? kept?.quota : undefined;
    judged.push({ decision: refused({ subjectId }, reason, quota), ...moot(subjectId, scene) });
  }
  for (const [subjectId, quotas] of scene.quotas) {
    if (!named.has(subjectId)) {
      const decision = left(subjectId, quotas, "the workflow did not name it");
      judged.push({ decision, ...moot(subjectId, scene) });
    }
    yield;
  }
  return judged;
}

/** The decisions of an evaluation that came to nothing: every subject with a quota keeps what is desired, for that reason. */
export function leftAsTheyAre(
  quotas: JudgingScene["quotas"],
  why: string,
): readonly SubjectDecision[] {
  return [...quotas].map(([subjectId, its]) => left(subjectId, its, why));
}

function left(subjectId: string, quotas: readonly KeptQuota[], why: string): SubjectDecision {
  const replicas = quotas.reduce((sum, { quota }) => sum + quota.replicas, 0);
  const [only, ...others] = quotas;
  const where = others.length === 0 ? "" : ` in ${quotas.length} quotas`;
  return {
    ...{ subject_id: subjectId, quota_id: where === "" ? (only?.quota.quotaId ?? null) : null },
    ...{ kind: "keep", current: replicas, wanted: null, replicas },
    why: `${why}: ${replicas} desired${where}`,
  };
}

function judgeChange(change: ReplicaChange, scene: JudgingScene): Judged {
  const { subjectId } = change;
  const [kept, ...others] = scene.quotas.get(subjectId) ?? [];
  if (kept === undefined) return { decision: refused(change, "it has no quota") };
  if (others.length > 0) {
    const why = `it has ${others.length + 1} quotas: which one is meant is not said`;
    return { decision: refused(change, why), ...moot(subjectId, scene) };
  }
  try {
    return judgeQuota(change, kept.quota, scene);
  } catch (thrown) {
    return { decision: refused(change, toBerthError(thrown).message, kept.quota) };
  }
}

function judgeQuota(change: ReplicaChange, quota: Quota, scene: JudgingScene): Judged {
  const { subjectId, replicas: wanted } = change;
  const { quotaId, replicas: current } = quota;
  const own = guardsOf(scene.rules, subjectId);
  const rules = scene.isShadow ? { ...own, isShadow: true } : own;
  const from = scene.historyOf(quota);
  const verdict = guard({
    ...{ subjectId, wanted, current, bounds: replicaBounds(quota), rules },
    ...{ inputAgeMs: scene.ageMsOf(subjectId), isBusy: scene.busy.has(quotaId) },
    ...{ history: from, nowMs: scene.nowMs },
  });
  // A run in the shadow leaves no trace in what later ones look at.
  const { history } = verdict;
  const remember = scene.isShadow ? {} : { remember: { quotaId, history, from } };
  const why = verdict.kind === "needs_approval" ? reasonToWait(verdict, quotaId, scene) : undefined;
  if (why !== undefined) {
    const kept: Verdict = { ...verdict, kind: "keep", replicas: current, why };
    return { decision: decisionOf(change, quota, kept), ...remember };
  }
  const decision = decisionOf(change, quota, verdict);
  if (verdict.kind !== "change" && verdict.kind !== "needs_approval") {
    const asked = scene.isShadow ? undefined : scene.waiting.get(quotaId);
    const isMoot = asked !== undefined && !isSameWay(current, wanted, asked);
    return { decision, ...remember, ...(isMoot ? { withdrawn: [quotaId] } : {}) };
  }
  return { decision, ...remember, asked: askedFor(verdict, { change, quota, scene }) };
}

/** Of a subject that the workflow does not want to change: what it has asked a human for before. */
function moot(
  subjectId: string,
  { isShadow, quotas, waiting }: JudgingScene,
): Pick<Judged, "withdrawn"> {
  const ids = (quotas.get(subjectId) ?? []).map(({ quota }) => quota.quotaId);
  const withdrawn = isShadow ? [] : ids.filter((quotaId) => waiting.has(quotaId));
  return withdrawn.length === 0 ? {} : { withdrawn };
}

function isSameWay(from: number, one: number, other: number): boolean {
  return Math.sign(one - from) === Math.sign(other - from);
}

/** Why a human is not asked now: somebody is already, or has just refused the same. */
function reasonToWait(
  { replicas }: Verdict,
  quotaId: string,
  { waiting, isRefused }: JudgingScene,
): string | undefined {
  const asked = waiting.get(quotaId);
  if (asked !== undefined) return `${asked} replicas wait for approval`;
  if (!isRefused(quotaId, replicas)) return undefined;
  return `${replicas} replicas were not approved a moment ago`;
}

function askedFor(
  verdict: Verdict,
  { change, quota, scene }: { change: ReplicaChange; quota: Quota; scene: JudgingScene },
): AskedReplicas {
  const said = change.reason === "" ? "" : ` (${change.reason})`;
  return {
    ...{ subjectId: change.subjectId, quotaId: quota.quotaId, replicas: verdict.replicas },
    ...{ origin: "autoscaler", reason: `${verdict.why}${said}`.slice(0, 1_000) },
    ...{ evaluationId: scene.evaluationId, judgedAt: quota.replicas },
    ...(verdict.kind === "needs_approval" ? { approvalWithinMs: scene.rules.approvalMs } : {}),
  };
}

function decisionOf(change: ReplicaChange, quota: Quota, verdict: Verdict): SubjectDecision {
  return {
    ...{ subject_id: change.subjectId, quota_id: quota.quotaId, kind: verdict.kind },
    ...{ current: quota.replicas, wanted: verdict.wanted, replicas: verdict.replicas },
    why: verdict.why,
    ...(change.reason === "" ? {} : { workflow_reason: change.reason }),
    ...(verdict.steps.length === 0 ? {} : { steps: verdict.steps }),
  };
}

function refused(
  { subjectId, replicas }: { readonly subjectId: string; readonly replicas?: number },
  why: string,
  quota?: Quota,
): SubjectDecision {
  return {
    ...{ subject_id: subjectId, quota_id: quota?.quotaId ?? null, kind: "refused" },
    ...{ current: quota?.replicas ?? null, wanted: replicas ?? null },
    ...{ replicas: quota?.replicas ?? null, why },
  };
}
