import {
  LIMITS_BY_KIND,
  type PolicyCode,
  type PolicyContexts,
  type PolicyDefaults,
  type RunnablePolicy,
  type Sandbox,
} from "@berth/policy-sandbox";
import {
  type ApplyOutcome,
  applyWithOptional,
  BerthError,
  compileFilter,
  type DocumentStore,
  isJsonObject,
  parse,
  parseLossless,
  QueryRunner,
  Serial,
  type StoredDocument,
  unfitForPolicies,
  type Write,
} from "@berth/service-kit";
import { nearMatches } from "./near-matches.ts";
import { type Digests, PolicyIndex } from "./policy-index.ts";
import {
  joinTags,
  PolicyChange,
  type PolicyRecord,
  parsePublish,
  policyUri,
  toRecord,
} from "./policy-record.ts";
import { decodeBase64, readPolicyCode, unpackArchive } from "./policy-source.ts";
import { checkRecordSize, recordBytes } from "./record-size.ts";
import { RunnablePolicies } from "./runnable-policies.ts";
import { CODE, RECORDS, type StoredPolicy, storedPolicies } from "./stored-policies.ts";

/** Characters of an unknown URI that its refusal repeats. */
const MAX_SHOWN_URI = 200;
/** The sandbox takes settings and parameters that are nested so deep. */
const MAX_DEFAULTS_DEPTH = LIMITS_BY_KIND.allocator.inputDepth;

/** What {@link PolicyRegistry} needs. */
export interface PolicyRegistryDeps {
  readonly store: DocumentStore;
  readonly sandbox: Sandbox;
  readonly contexts: Pick<PolicyContexts, "removeWith">;
}

/** Published policies: records, code by digest, defaults. A published version never changes its code. */
export class PolicyRegistry {
  readonly #queries = new QueryRunner();
  readonly #deps: PolicyRegistryDeps;
  readonly #index: PolicyIndex;
  readonly #runnables: RunnablePolicies;
  /** Writes are made one after the other: whether code is still needed is known from all records. */
  readonly #writing = new Serial();

  constructor(deps: PolicyRegistryDeps) {
    this.#deps = deps;
    this.#index = new PolicyIndex(deps.store);
    this.#runnables = new RunnablePolicies(deps.store);
  }

  /**
   * Publishes a policy; durable when it resolves. The same version with the same code and defaults is
   * answered with the record that is there; with other ones it is ALREADY_EXISTS.
   *
   * @param bodyText the body as the client wrote it, from which the defaults are kept number by number
   */
  async publish(orgId: string, body: unknown, bodyText: string): Promise<PolicyRecord> {
    const request = parsePublish(body);
    const defaults = losslessDefaults(bodyText);
    const existing = await this.#stored(orgId, policyUri(request));
    if (existing === undefined) checkRecordSize(request);
    const { code, unresolvedImports } = await readPolicyCode(request, this.#deps.sandbox);
    const record = toRecord(request, code.digest, unresolvedImports);
    const stored: StoredPolicy = { record, ...defaults };
    if (existing !== undefined) return sameOrRefuse(existing.body, stored);
    return this.#writing.run(() => this.#insert(orgId, stored, code));
  }

  /** The text files of an archive in base64: `policy.yaml`, where there is one, and those below code/. */
  unpack(archive: string): Promise<Readonly<Record<string, string>>> {
    return unpackArchive(decodeBase64(archive), this.#deps.sandbox);
  }

  /** One record; NOT_FOUND names near matches. */
  async get(orgId: string, uri: string): Promise<PolicyRecord> {
    return (await this.#require(orgId, uri)).body.record;
  }

  /** All records of an org in URI order. */
  async list(orgId: string): Promise<readonly PolicyRecord[]> {
    const records: PolicyRecord[] = [];
    for await (const { record } of storedPolicies(this.#deps.store, orgId)) records.push(record);
    return records;
  }

  /** Records that match a MongoDB-style filter. */
  async query(orgId: string, filter: unknown): Promise<readonly PolicyRecord[]> {
    const matches = compileFilter(filter);
    const documentOf = (record: PolicyRecord) => record;
    const items = await this.list(orgId);
    return this.#queries.select({ items, matches, documentOf, field: "query" });
  }

  /** Changes description, tags or metadata (plain fields or `$set`). */
  async change(orgId: string, uri: string, body: unknown): Promise<PolicyRecord> {
    const fields = isJsonObject(body) && isJsonObject(body.$set) ? body.$set : body;
    const change = parse(PolicyChange, fields);
    const { body: current, revision } = await this.#require(orgId, uri);
    const { tags, ...rest } = change;
    const record: PolicyRecord = {
      ...current.record,
      ...rest,
      ...(tags === undefined ? {} : { tags: joinTags(tags) }),
    };
    // What was stored before there was a bound may stay, and become smaller.
    if (recordBytes(record) > recordBytes(current.record)) checkRecordSize(record);
    const key = { orgId, collection: RECORDS, id: uri };
    const write: Write = {
      ...{ kind: "replace", key, ifRevision: revision },
      body: { ...current, record },
    };
    const outcome = await this.#writing.run(() => this.#deps.store.apply([write]));
    if (outcome.kind === "applied") return record;
    if (outcome.why === "missing") throw notFound(uri, []);
    throw new BerthError("CONFLICT", `policy ${uri} changed at the same time; try again`);
  }

  /** Removes a version, its context, and its code unless other versions share it. */
  async remove(orgId: string, uri: string): Promise<void> {
    const outcome = await this.#writing.run(() => this.#delete(orgId, uri));
    if (outcome.kind === "refused") throw notFound(uri, await this.#near(orgId, uri));
  }

  /** A policy ready to run; NOT_FOUND names near matches. */
  async runnable(orgId: string, uri: string): Promise<RunnablePolicy> {
    const policy = await this.#runnables.get(orgId, uri);
    if (policy === undefined) throw notFound(uri, await this.#near(orgId, uri));
    return policy;
  }

  async #insert(orgId: string, stored: StoredPolicy, code: PolicyCode): Promise<PolicyRecord> {
    const { record } = stored;
    const uri = record.policy_rule_uri;
    const existing = await this.#stored(orgId, uri);
    if (existing !== undefined) return sameOrRefuse(existing.body, stored);
    const { store, contexts } = this.#deps;
    const insert: Write = {
      ...{ kind: "insert", body: stored },
      key: { orgId, collection: RECORDS, id: uri },
    };
    const insertCode: Write = {
      ...{ kind: "insert", body: { files: code.files } },
      key: { orgId, collection: CODE, id: code.digest },
    };
    // An older version of Berth may have left a context under this URI.
    const outcome = await contexts.removeWith(orgId, uri, (removal) =>
      applyWithOptional(store, [insert], [insertCode, removal]),
    );
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", `policy ${uri} is being published twice at once; try again`);
    }
    this.#index.note(orgId, uri, record.digest);
    return record;
  }

  async #delete(orgId: string, uri: string): Promise<ApplyOutcome> {
    const { store, contexts } = this.#deps;
    const key = { orgId, collection: RECORDS, id: uri };
    const code = await this.#codeOfOnly(orgId, uri);
    return contexts.removeWith(orgId, uri, async (removal) => {
      const outcome = await applyWithOptional(store, [{ kind: "delete", key }], [...code, removal]);
      if (outcome.kind === "refused") return outcome;
      this.#runnables.removed(orgId, uri);
      this.#index.note(orgId, uri, undefined);
      return outcome;
    });
  }

  /** The deletion of a version's code, when no other version has the same. */
  async #codeOfOnly(orgId: string, uri: string): Promise<readonly Write[]> {
    const digests = await this.#digests(orgId);
    const digest = digests.get(uri);
    const sharers = [...digests.values()].filter((other) => other === digest);
    if (digest === undefined || sharers.length > 1) return [];
    return [{ kind: "delete", key: { orgId, collection: CODE, id: digest } }];
  }

  #stored(orgId: string, uri: string): Promise<StoredDocument<StoredPolicy> | undefined> {
    return this.#deps.store.get<StoredPolicy>({ orgId, collection: RECORDS, id: uri });
  }

  async #require(orgId: string, uri: string): Promise<StoredDocument<StoredPolicy>> {
    const stored = await this.#stored(orgId, uri);
    if (stored === undefined) throw notFound(uri, await this.#near(orgId, uri));
    return stored;
  }

  async #near(orgId: string, uri: string): Promise<readonly string[]> {
    return nearMatches(uri, [...(await this.#digests(orgId)).keys()]);
  }

  /** The versions that are there; none when one of them cannot be read, which is no reason to refuse others. */
  #digests(orgId: string): Promise<Digests> {
    return this.#index.of(orgId).catch((): Digests => new Map());
  }
}

/** Refuses defaults that no run could be given: a published version would fail whatever it is asked. */
function losslessDefaults(bodyText: string): PolicyDefaults {
  const body = parseLossless(bodyText);
  const field = (name: string): string => {
    const value = (isJsonObject(body) ? body[name] : undefined) ?? {};
    const problem = unfitForPolicies(value, MAX_DEFAULTS_DEPTH);
    if (problem !== undefined) throw new BerthError("INVALID_ARGUMENT", `${name}: ${problem}`);
    return JSON.stringify(value);
  };
  return { settingsJson: field("policy_settings"), parametersJson: field("policy_parameters") };
}

function sameOrRefuse(existing: StoredPolicy, asked: StoredPolicy): PolicyRecord {
  const same =
    existing.record.digest === asked.record.digest &&
    existing.settingsJson === asked.settingsJson &&
    existing.parametersJson === asked.parametersJson;
  if (same) return existing.record;
  const message = `policy ${asked.record.policy_rule_uri} is published with other code or defaults; publish a new version`;
  throw new BerthError("ALREADY_EXISTS", message);
}

function notFound(uri: string, near: readonly string[]): BerthError {
  const hint = near.length === 0 ? "" : ` Did you mean ${near.join(" or ")}?`;
  const shown = uri.length <= MAX_SHOWN_URI ? uri : `${uri.slice(0, MAX_SHOWN_URI)}…`;
  const message = `Policy rule with URI '${shown}' not found.${hint}`;
  return new BerthError("NOT_FOUND", message, near.length === 0 ? {} : { details: { near } });
}
