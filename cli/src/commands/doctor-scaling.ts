import { at, textAt } from "../cluster-view.ts";
import type { Finding } from "./doctor-finding.ts";
import { cellText } from "./views.ts";

const LOOK_AT_READYZ = "GET /readyz, and the log of the control-plane";

/** What is wrong with the control-plane itself: the parts of `/readyz`. */
export function healthFindings(parts: unknown): readonly Finding[] {
  const found: Finding[] = [];
  const parted = [
    ["store", "error"],
    ["bus", "error"],
    ["mirror", "warning"],
  ] as const;
  for (const [part, severity] of parted) {
    const state = textAt(parts, part) ?? "ready";
    if (state === "ready" || state === "none") continue;
    found.push({ severity, about: `the ${part}`, what: state, next: LOOK_AT_READYZ });
  }
  return found;
}

/** What is wrong with the newest evaluation of the autoscaler. Held without a workflow it is as somebody wants it. */
export function evaluationFindings(evaluation: unknown): readonly Finding[] {
  const workflow = textAt(evaluation, "workflow_id");
  const state = textAt(evaluation, "state");
  if (workflow === undefined || (state !== "failed" && state !== "held")) return [];
  const about = `the autoscaler's workflow ${cellText(workflow)}`;
  const what = `its newest evaluation is ${state}: ${cellText(at(evaluation, "reason"))}`;
  const next =
    state === "failed"
      ? "mend it, then berth workflow apply and berth autoscale evaluate --shadow"
      : "berth autoscale status, berth get workflows|clusters";
  return [{ severity: state === "failed" ? "error" : "warning", about, what, next }];
}

/** A request to scale that waits for a human. */
export function approvalFinding(request: unknown): Finding {
  const id = cellText(at(request, "uuid"));
  const subject = cellText(at(request, "subject_id"));
  const what = `${cellText(at(request, "replicas"))} replicas of ${subject} wait for a human`;
  const next = `berth autoscale approve|reject ${id}`;
  return { severity: "warning", about: `request ${id}`, what, next };
}
