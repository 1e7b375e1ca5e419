import type { Clock, DocumentStore, Logger } from "@berth/service-kit";
import { QuotaBook } from "./quotas/quota-book.ts";
import { SubjectBook } from "./subjects/subject-book.ts";

/** What the control-plane knows of its org: who may use how much. */
export interface Org {
  readonly id: string;
  readonly quotas: QuotaBook;
  readonly subjects: SubjectBook;
}

/** Opens what the store knows of the org. */
export async function openOrg(deps: {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}): Promise<Org> {
  const quotas = new QuotaBook(deps);
  const subjects = new SubjectBook(deps);
  await Promise.all([quotas.load(), subjects.load()]);
  return { id: deps.orgId, quotas, subjects };
}
