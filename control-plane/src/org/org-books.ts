import type { Clock, DocumentStore, Logger } from "@berth/service-kit";
import type { Charge } from "./charges/charge.ts";
import { ChargeBook } from "./charges/charge-book.ts";
import type { Quota } from "./quotas/quota.ts";
import { QuotaBook } from "./quotas/quota-book.ts";
import type { GroupOf } from "./store/grouped-documents.ts";
import { KeptDocuments } from "./store/kept-documents.ts";
import { OrgTransactions } from "./store/org-transactions.ts";
import type { StateMirror } from "./store/state-mirror.ts";
import type { Subject } from "./subjects/subject.ts";
import { SubjectBook } from "./subjects/subject-book.ts";

/** What is written down of an org. */
export interface OrgBooks {
  readonly quotas: QuotaBook;
  readonly subjects: SubjectBook;
  readonly charges: ChargeBook;
  /** Writes to all of them, and to others that are added, together. */
  readonly transactions: OrgTransactions;
}

/** Opens the books of an org with what the store knows. */
export async function openOrgBooks(deps: {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  /** Open already. */
  readonly mirror?: StateMirror | undefined;
  readonly logger: Logger;
}): Promise<OrgBooks> {
  const { store, orgId, clock, logger } = deps;
  const documents = <T>(collection: string, groupOf?: GroupOf<T>) =>
    new KeptDocuments<T>({ store, orgId, collection, ...(groupOf && { groupOf }) });
  const transactions = new OrgTransactions({ store, mirror: deps.mirror, logger });
  const bySubject = ({ subjectId }: Quota) => (subjectId === "" ? undefined : subjectId);
  const quotas = new QuotaBook({
    ...{ documents: documents("quotas", bySubject), transactions, clock },
  });
  const byQuota = ({ quotaId }: Charge) => quotaId;
  const charges = new ChargeBook({ documents: documents("charges", byQuota), quotas, logger });
  const subjects = new SubjectBook({ documents: documents<Subject>("subjects"), transactions });
  // What is used is counted in the tree that the quotas make.
  for (const book of [quotas, charges, subjects]) transactions.add(book);
  await transactions.load();
  for (const { quota } of quotas.all()) {
    const { quotaId, parentId: missing } = quota;
    if (missing === undefined || quotas.tree.has(missing)) continue;
    const advice = "make that one again, or PUT another parent_id";
    logger.error("a quota stands below one that is not there", { quotaId, missing, advice });
  }
  return { quotas, subjects, charges, transactions };
}
