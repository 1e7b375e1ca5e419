import { BerthError } from "@berth/service-kit";
import type { Kept } from "../store/grouped-documents.ts";
import type { KeptDocuments } from "../store/kept-documents.ts";
import type { OrgTransactions } from "../store/org-transactions.ts";
import { changedSubject, readSubject, type Subject } from "./subject.ts";

/** What a {@link SubjectBook} is kept with. */
export interface SubjectBookDeps {
  readonly documents: KeptDocuments<Subject>;
  readonly transactions: OrgTransactions;
}

/** A subject, and how often it was written: 1 at first. */
export interface KeptSubject {
  readonly subject: Subject;
  readonly revision: number;
}

/** Most subjects of an org. */
const MAX_SUBJECTS = 100_000;

type Body = Readonly<Record<string, unknown>>;

/** The durable subjects of an org; a write is durable when it resolves. */
export class SubjectBook {
  readonly #deps: SubjectBookDeps;

  constructor(deps: SubjectBookDeps) {
    this.#deps = deps;
  }

  /** Takes what the store has. */
  reload(): Promise<void> {
    return this.#deps.documents.reload();
  }

  /** One subject; undefined when nobody told of it. */
  find(subjectId: string): Subject | undefined {
    return this.#deps.documents.get(subjectId)?.body;
  }

  /** One subject; NOT_FOUND when nobody told of it. */
  get(subjectId: string): KeptSubject {
    return found(subjectId, this.#deps.documents.get(subjectId));
  }

  /** All, in the order of their ids. */
  all(): readonly Subject[] {
    return this.#deps.documents.all().map(([, { body }]) => body);
  }

  /** Writes a new subject. INVALID_ARGUMENT names the field; ALREADY_EXISTS. */
  create(body: Body): Promise<KeptSubject> {
    const { documents, transactions } = this.#deps;
    return transactions.run((plan) => {
      const subject = readSubject(body);
      const { subjectId } = subject;
      if (documents.planned(subjectId) !== undefined) {
        const message = `subject ${JSON.stringify(subjectId)} exists already`;
        throw new BerthError("ALREADY_EXISTS", message);
      }
      if (documents.size >= MAX_SUBJECTS) {
        throw new BerthError("OVERLOADED", `an org has at most ${MAX_SUBJECTS} subjects`);
      }
      return keptOf(documents.put(plan, subjectId, subject));
    });
  }

  /**
   * Changes the fields that the body names; nothing is written when that changes nothing. NOT_FOUND; STALE_REVISION when `ifRevision`
   * is not the newest one; INVALID_ARGUMENT names the field.
   */
  change(subjectId: string, body: Body, ifRevision?: number): Promise<KeptSubject> {
    const { documents, transactions } = this.#deps;
    return transactions.run((plan) => {
      const before = found(subjectId, documents.planned(subjectId), ifRevision);
      const subject = changedSubject(before.subject, body);
      if (JSON.stringify(subject) === JSON.stringify(before.subject)) return before;
      return keptOf(documents.put(plan, subjectId, subject));
    });
  }

  /** Forgets a subject; its quotas stay. NOT_FOUND; STALE_REVISION. */
  remove(subjectId: string, ifRevision?: number): Promise<void> {
    const { documents, transactions } = this.#deps;
    return transactions.run((plan) => {
      found(subjectId, documents.planned(subjectId), ifRevision);
      documents.remove(plan, subjectId);
    });
  }
}

function found(
  subjectId: string,
  kept: Kept<Subject> | undefined,
  ifRevision?: number,
): KeptSubject {
  const name = JSON.stringify(subjectId.slice(0, 100));
  if (kept === undefined) throw new BerthError("NOT_FOUND", `no subject ${name}`);
  const { revision } = kept;
  if (ifRevision === undefined || ifRevision === revision) return keptOf(kept);
  const message = `If-Match: subject ${name} has revision ${revision}, expected ${ifRevision}`;
  throw new BerthError("STALE_REVISION", message, { details: { revision } });
}

function keptOf({ body, revision }: Kept<Subject>): KeptSubject {
  return { subject: body, revision };
}
