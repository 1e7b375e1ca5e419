import { isBerthError } from "@berth/service-kit";
import { previewQuota } from "../../org/charges/preview.ts";
import type { OrgBooks } from "../../org/org-books.ts";
import type { AskedReplicas, Scaling } from "../scaling/scaling.ts";
import type { SubjectDecision } from "./evaluation-record.ts";
import type { Judged } from "./judge-subjects.ts";

/** What {@link askReplicas} works with. */
export interface AskingDeps {
  readonly books: OrgBooks;
  readonly scaling: Pick<Scaling, "request">;
}

/**
 * Makes the request that a decision asks for; gives the decision with its uuid, or refused with the reason. Where a quota has room for
 * some of what is wanted, these are asked for.
 */
export async function askReplicas(
  { decision, asked }: Judged,
  deps: AskingDeps,
): Promise<SubjectDecision> {
  if (asked === undefined) return decision;
  const first = await made(asked, deps);
  if (first.kind === "made") return { ...decision, uuid: first.uuid };
  const { current } = decision;
  const refused: SubjectDecision = { ...decision, kind: "refused", replicas: current };
  const fitting = first.isOver ? await fittingReplicas(asked, deps) : undefined;
  if (fitting === undefined || current === null || fitting <= current) {
    return { ...refused, why: first.why };
  }
  const reason = `${asked.reason}; ${first.why}`.slice(0, 1_000);
  const second = await made({ ...asked, replicas: fitting, reason }, deps);
  if (second.kind === "refused") return { ...refused, why: second.why };
  return {
    ...decision,
    replicas: fitting,
    why: `${decision.why}; ${first.why}, so that ${fitting} are asked for`,
    uuid: second.uuid,
  };
}

type Made =
  | { readonly kind: "made"; readonly uuid: string }
  | { readonly kind: "refused"; readonly why: string; readonly isOver: boolean };

async function made(asked: AskedReplicas, { scaling, books }: AskingDeps): Promise<Made> {
  try {
    // What waits for a human is not charged yet: nobody is to be asked for what has no room.
    if (asked.approvalWithinMs !== undefined) {
      const why = await reasonWithoutRoom(asked, books);
      if (why !== undefined) return { kind: "refused", why, isOver: true };
    }
    const { uuid } = await scaling.request(asked);
    return { kind: "made", uuid };
  } catch (thrown) {
    if (!isBerthError(thrown)) throw thrown;
    const { reason, message } = thrown;
    return { kind: "refused", why: message, isOver: reason === "QUOTA_EXCEEDED" };
  }
}

async function reasonWithoutRoom(
  { quotaId = "", replicas }: AskedReplicas,
  books: OrgBooks,
): Promise<string | undefined> {
  const preview = await previewQuota(books, quotaId, { replica_count: replicas });
  return preview.kind === "over" ? preview.refusal?.message : undefined;
}

async function fittingReplicas(
  { quotaId = "", replicas }: AskedReplicas,
  { books }: AskingDeps,
): Promise<number | undefined> {
  const preview = await previewQuota(books, quotaId, {});
  if (preview.kind === "refused" || preview.fitsReplicas === undefined) return undefined;
  return Math.min(preview.fitsReplicas, replicas);
}
