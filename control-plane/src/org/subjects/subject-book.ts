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
  get(subjectId: string): Subject {
    return found(subjectId, this.#deps.documents.get(subjectId));
  }

  /** All, in the order of their ids. */
  all(): readonly Subject[] {
    return this.#deps.documents.all().map(([, { body }]) => body);
  }

  /** Writes a new subject. INVALID_ARGUMENT names the field; ALREADY_EXISTS. */
  create(body: Body): Promise<Subject> {
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
      return documents.put(plan, subjectId, subject).body;
    });
  }

  /** Changes the fields that the body names. NOT_FOUND; INVALID_ARGUMENT names the field. */
  change(subjectId: string, body: Body): Promise<Subject> {
    const { documents, transactions } = this.#deps;
    return transactions.run((plan) => {
      const before = found(subjectId, documents.planned(subjectId));
      return documents.put(plan, subjectId, changedSubject(before, body)).body;
    });
  }

  /** Forgets a subject; its quotas stay. NOT_FOUND. */
  remove(subjectId: string): Promise<void> {
    const { documents, transactions } = this.#deps;
    return transactions.run((plan) => {
      found(subjectId, documents.planned(subjectId));
      documents.remove(plan, subjectId);
    });
  }
}

function found(subjectId: string, kept: Kept<Subject> | undefined): Subject {
  if (kept !== undefined) return kept.body;
  throw new BerthError("NOT_FOUND", `no subject ${JSON.stringify(subjectId.slice(0, 100))}`);
}
