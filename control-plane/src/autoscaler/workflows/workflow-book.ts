import { randomUUID } from "node:crypto";
import {
  BerthError,
  type Clock,
  isBerthError,
  isJsonObject,
  parseLossless,
} from "@berth/service-kit";
import type { Kept } from "../../org/store/grouped-documents.ts";
import type { KeptDocuments } from "../../org/store/kept-documents.ts";
import type { OrgTransactions } from "../../org/store/org-transactions.ts";
import type { ModuleChecks } from "./module-checks.ts";
import { readWorkflow, type Workflow } from "./workflow.ts";
import { type Body, readBody } from "./workflow-body.ts";

/** What a {@link WorkflowBook} is kept with. */
export interface WorkflowBookDeps {
  readonly documents: KeptDocuments<StoredWorkflow>;
  readonly transactions: OrgTransactions;
  /** Of the code of modules, before a workflow is written and when one is shown. */
  readonly checks: ModuleChecks;
  readonly clock: Clock;
}

/** A workflow as it is kept. */
export interface KeptWorkflow {
  readonly id: string;
  /** 1 at first, one more with each change. */
  readonly revision: number;
  /** The body as the client wrote it, numbers too; of YAML text the same as JSON. */
  readonly body: Body;
  /** What the body means, or why it cannot run: rules may have changed since it was written. */
  readonly read:
    | { readonly kind: "valid"; readonly workflow: Workflow }
    | { readonly kind: "invalid"; readonly problem: string };
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

/** As the store has it: the body as text, because a store keeps numbers as doubles. */
export interface StoredWorkflow {
  readonly bodyJson: string;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Most workflows of an org. */
export const MAX_WORKFLOWS = 1_000;

/** The durable workflows of an org; a write is durable when it resolves. */
export class WorkflowBook {
  readonly #deps: WorkflowBookDeps;
  /** What each stored text means. */
  readonly #read = new WeakMap<StoredWorkflow, KeptWorkflow>();

  constructor(deps: WorkflowBookDeps) {
    this.#deps = deps;
  }

  /** Takes what the store has. */
  reload(): Promise<void> {
    return this.#deps.documents.reload();
  }

  /** One workflow; undefined when there is none. */
  find(id: string): KeptWorkflow | undefined {
    const kept = this.#deps.documents.get(id);
    return kept === undefined ? undefined : this.#keptOf(id, kept);
  }

  /** One workflow; NOT_FOUND when there is none. */
  get(id: string): KeptWorkflow {
    const kept = this.find(id);
    if (kept === undefined) throw notFound(id);
    return kept;
  }

  /** What a workflow that could run lacks: a published policy that was removed; undefined when it lacks nothing. */
  missing({ read }: KeptWorkflow): Promise<string | undefined> {
    if (read.kind === "invalid") return Promise.resolve(undefined);
    return this.#deps.checks.missing(read.workflow);
  }

  /** One that can run; NOT_FOUND, and PRECONDITION_FAILED with its problem when it cannot. */
  runnable(id: string): Workflow {
    const { read } = this.get(id);
    if (read.kind === "valid") return read.workflow;
    const message = `workflow ${quoted(id)} cannot run: ${read.problem}`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }

  /** All, in the order of their ids. */
  all(): readonly KeptWorkflow[] {
    return this.#deps.documents.all().map(([id, kept]) => this.#keptOf(id, kept));
  }

  /**
   * Writes a new workflow: a body with its numbers as they were written (`losslessBody`), or JSON or YAML text. It gets
   * an id where it has none. INVALID_ARGUMENT names the field; ALREADY_EXISTS; OVERLOADED when there are 1,000.
   */
  async create(given: unknown): Promise<KeptWorkflow> {
    const { documents, transactions, clock } = this.#deps;
    const body = readBody(given);
    const workflow = readWorkflow(body);
    const id = workflow.id || randomUUID();
    await this.#deps.checks.check(workflow);
    return transactions.run((plan) => {
      if (documents.planned(id) !== undefined) {
        throw new BerthError("ALREADY_EXISTS", `workflow ${quoted(id)} exists already`);
      }
      if (documents.size >= MAX_WORKFLOWS) {
        throw new BerthError("OVERLOADED", `an org has at most ${MAX_WORKFLOWS} workflows`);
      }
      const now = clock.timestamp();
      const stored = { bodyJson: JSON.stringify(body), createdAt: now, updatedAt: now };
      return this.#keptOf(id, documents.put(plan, id, stored));
    });
  }

  /**
   * Replaces the whole body; nothing is written when it is the same. INVALID_ARGUMENT names the field; NOT_FOUND;
   * STALE_REVISION when `ifRevision` is not the newest one.
   */
  async replace(id: string, given: unknown, ifRevision?: number): Promise<KeptWorkflow> {
    const { documents, transactions, checks, clock } = this.#deps;
    current(id, documents.planned(id), ifRevision);
    const body = readBody(given);
    await checks.check(readWorkflow(body, id));
    return transactions.run((plan) => {
      const before = current(id, documents.planned(id), ifRevision);
      const bodyJson = JSON.stringify(body);
      if (bodyJson === before.body.bodyJson) return this.#keptOf(id, before);
      const { createdAt } = before.body;
      const stored = { bodyJson, createdAt, updatedAt: clock.timestamp() };
      return this.#keptOf(id, documents.put(plan, id, stored));
    });
  }

  /** Removes a workflow. NOT_FOUND; STALE_REVISION when `ifRevision` is not the newest one. */
  remove(id: string, ifRevision?: number): Promise<void> {
    const { documents, transactions } = this.#deps;
    return transactions.run((plan) => {
      current(id, documents.planned(id), ifRevision);
      documents.remove(plan, id);
    });
  }

  #keptOf(id: string, { body, revision }: Kept<StoredWorkflow>): KeptWorkflow {
    const known = this.#read.get(body);
    if (known !== undefined) return known;
    const kept = keptOf(id, revision, body);
    this.#read.set(body, kept);
    return kept;
  }
}

function current(
  id: string,
  kept: Kept<StoredWorkflow> | undefined,
  ifRevision: number | undefined,
): Kept<StoredWorkflow> {
  if (kept === undefined) throw notFound(id);
  if (ifRevision === undefined || ifRevision === kept.revision) return kept;
  const message = `If-Match: workflow ${quoted(id)} has revision ${kept.revision}, expected ${ifRevision}`;
  throw new BerthError("STALE_REVISION", message, { details: { revision: kept.revision } });
}

/** A workflow as clients read it: its body as it was written, and what is known of it. `missing`: a policy that is not there. */
export function workflowDocument(kept: KeptWorkflow, orgId: string, missing?: string): Body {
  const { id, body, read, revision } = kept;
  return {
    ...body,
    workflow_id: id,
    org_id: orgId,
    warnings: read.kind === "valid" ? read.workflow.warnings : [],
    problem: read.kind === "invalid" ? read.problem : (missing ?? null),
    revision,
    ...{ created_at: kept.createdAt, updated_at: kept.updatedAt },
  };
}

function keptOf(id: string, revision: number, stored: StoredWorkflow): KeptWorkflow {
  const { createdAt, updatedAt } = stored;
  const known = { id, revision, createdAt, updatedAt };
  let body: Body = {};
  try {
    const parsed = parseLossless(stored.bodyJson);
    if (isJsonObject(parsed)) body = parsed;
    return { ...known, body, read: { kind: "valid", workflow: readWorkflow(parsed, id) } };
  } catch (thrown) {
    const problem = isBerthError(thrown) ? thrown.message : "the stored body is no JSON";
    return { ...known, body, read: { kind: "invalid", problem } };
  }
}

function notFound(id: string): BerthError {
  return new BerthError("NOT_FOUND", `no workflow ${quoted(id)}`);
}

function quoted(id: string): string {
  return JSON.stringify(id.slice(0, 100));
}
