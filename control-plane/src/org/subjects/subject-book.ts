import { allPages, BerthError, type DocumentStore, Serial, type Write } from "@berth/service-kit";
import { changedSubject, readSubject, type Subject } from "./subject.ts";

/** What a {@link SubjectBook} is kept with. */
export interface SubjectBookDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
}

/** Most subjects of an org. */
const MAX_SUBJECTS = 100_000;
const COLLECTION = "subjects";

type Body = Readonly<Record<string, unknown>>;

/** The durable subjects of an org, read from memory; a write is durable when it resolves. */
export class SubjectBook {
  readonly #deps: SubjectBookDeps;
  readonly #subjects = new Map<string, Subject>();
  readonly #turns = new Serial();
  #sorted: readonly Subject[] | undefined;

  constructor(deps: SubjectBookDeps) {
    this.#deps = deps;
  }

  /** Reads what the store knows; called once. */
  async load(): Promise<void> {
    const { store, orgId } = this.#deps;
    for await (const { id, body } of allPages<Subject>(store, { orgId, collection: COLLECTION })) {
      this.#subjects.set(id, body);
    }
  }

  /** One subject; undefined when nobody told of it. */
  find(subjectId: string): Subject | undefined {
    return this.#subjects.get(subjectId);
  }

  /** One subject; NOT_FOUND when nobody told of it. */
  get(subjectId: string): Subject {
    const subject = this.find(subjectId);
    if (subject !== undefined) return subject;
    throw new BerthError("NOT_FOUND", `no subject ${JSON.stringify(subjectId.slice(0, 100))}`);
  }

  /** All, in the order of their ids. */
  all(): readonly Subject[] {
    this.#sorted ??= [...this.#subjects.values()].sort((one, other) =>
      one.subjectId < other.subjectId ? -1 : 1,
    );
    return this.#sorted;
  }

  /** Writes a new subject. INVALID_ARGUMENT names the field; ALREADY_EXISTS. */
  create(body: Body): Promise<Subject> {
    const subject = readSubject(body);
    const { subjectId } = subject;
    return this.#turns.run(async () => {
      if (this.#subjects.has(subjectId)) {
        const message = `subject ${JSON.stringify(subjectId)} exists already`;
        throw new BerthError("ALREADY_EXISTS", message);
      }
      if (this.#subjects.size >= MAX_SUBJECTS) {
        throw new BerthError("OVERLOADED", `an org has at most ${MAX_SUBJECTS} subjects`);
      }
      await this.#write({ kind: "insert", key: this.#key(subjectId), body: subject });
      return this.#keep(subject);
    });
  }

  /** Changes the fields that the body names. NOT_FOUND; INVALID_ARGUMENT names the field. */
  change(subjectId: string, body: Body): Promise<Subject> {
    return this.#turns.run(async () => {
      const subject = changedSubject(this.get(subjectId), body);
      await this.#write({ kind: "replace", key: this.#key(subjectId), body: subject });
      return this.#keep(subject);
    });
  }

  /** Forgets a subject; its quotas stay. NOT_FOUND. */
  remove(subjectId: string): Promise<void> {
    return this.#turns.run(async () => {
      this.get(subjectId);
      await this.#write({ kind: "delete", key: this.#key(subjectId) });
      this.#subjects.delete(subjectId);
      this.#sorted = undefined;
    });
  }

  #keep(subject: Subject): Subject {
    this.#subjects.set(subject.subjectId, subject);
    this.#sorted = undefined;
    return subject;
  }

  async #write(write: Write): Promise<void> {
    const outcome = await this.#deps.store.apply([write]);
    if (outcome.kind === "applied") return;
    throw new BerthError("INTERNAL", `subject ${write.key.id} was not written: ${outcome.why}`);
  }

  #key(id: string) {
    return { orgId: this.#deps.orgId, collection: COLLECTION, id };
  }
}
