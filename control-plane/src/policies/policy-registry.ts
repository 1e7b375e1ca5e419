import type { PolicyCode, Sandbox } from "@berth/policy-sandbox";
import {
  BerthError,
  compileFilter,
  type DocumentStore,
  isJsonObject,
  parse,
  parseLossless,
} from "@berth/service-kit";
import { nearMatches } from "./near-matches.ts";
import {
  joinTags,
  PolicyChange,
  type PolicyDefaults,
  type PolicyRecord,
  parsePublish,
  policyUri,
  toRecord,
} from "./policy-record.ts";
import { decodeBase64, readPolicyCode, unpackArchive } from "./policy-source.ts";

const RECORDS = "policies";
const CODE = "policy_code";
const MAX_CACHED_CODES = 256;
/** Characters of an unknown URI that its refusal repeats. */
const MAX_SHOWN_URI = 200;

interface StoredPolicy extends PolicyDefaults {
  readonly record: PolicyRecord;
}

/** A policy with everything that running it takes. */
export interface RunnablePolicy extends PolicyDefaults {
  readonly record: PolicyRecord;
  readonly code: PolicyCode;
}

/** What {@link PolicyRegistry} needs. */
export interface PolicyRegistryDeps {
  readonly store: DocumentStore;
  readonly sandbox: Sandbox;
}

/** Published policies: records, code by digest, defaults. A published version never changes its code. */
export class PolicyRegistry {
  readonly #deps: PolicyRegistryDeps;
  readonly #codes = new Map<string, PolicyCode>();

  constructor(deps: PolicyRegistryDeps) {
    this.#deps = deps;
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
    const { code, unresolvedImports } = await readPolicyCode(request, this.#deps.sandbox);
    const record = toRecord(request, code.digest, unresolvedImports);
    if (existing !== undefined) return sameOrRefuse(existing, record, defaults);
    const codeKey = { orgId, collection: CODE, id: code.digest };
    const key = { orgId, collection: RECORDS, id: record.policy_rule_uri };
    const stored: StoredPolicy = { record, ...defaults };
    const known = await this.#deps.store.get(codeKey);
    const outcome = await this.#deps.store.apply([
      ...(known === undefined
        ? [{ kind: "insert", key: codeKey, body: { files: code.files } } as const]
        : []),
      { kind: "insert", key, body: stored },
    ]);
    if (outcome.kind === "refused") {
      const message = `policy ${record.policy_rule_uri} is being published twice at once; try again`;
      throw new BerthError("CONFLICT", message);
    }
    return record;
  }

  /** The text files of an archive in base64: `policy.yaml`, where there is one, and those below code/. */
  unpack(archive: string): Promise<Readonly<Record<string, string>>> {
    return unpackArchive(decodeBase64(archive), this.#deps.sandbox);
  }

  /** One record; NOT_FOUND names near matches. */
  async get(orgId: string, uri: string): Promise<PolicyRecord> {
    return (await this.#require(orgId, uri)).record;
  }

  /** All records of an org in URI order. */
  async list(orgId: string): Promise<readonly PolicyRecord[]> {
    const stored = await this.#deps.store.list<StoredPolicy>({ orgId, collection: RECORDS });
    return stored.map(({ body }) => body.record);
  }

  /** Records that match a MongoDB-style filter. */
  async query(orgId: string, filter: unknown): Promise<readonly PolicyRecord[]> {
    const matches = compileFilter(filter);
    return (await this.list(orgId)).filter((record) => matches(record));
  }

  /** Changes description, tags or metadata (plain fields or `$set`). */
  async change(orgId: string, uri: string, body: unknown): Promise<PolicyRecord> {
    const fields = isJsonObject(body) && isJsonObject(body.$set) ? body.$set : body;
    const change = parse(PolicyChange, fields);
    const current = await this.#require(orgId, uri);
    const { tags, ...rest } = change;
    const record: PolicyRecord = {
      ...current.record,
      ...rest,
      ...(tags === undefined ? {} : { tags: joinTags(tags) }),
    };
    const key = { orgId, collection: RECORDS, id: uri };
    const outcome = await this.#deps.store.apply([
      { kind: "replace", key, body: { ...current, record } },
    ]);
    if (outcome.kind === "refused") throw notFound(uri, []);
    return record;
  }

  /** Removes a version. Its code stays for versions that share it. */
  async remove(orgId: string, uri: string): Promise<void> {
    const key = { orgId, collection: RECORDS, id: uri };
    const outcome = await this.#deps.store.apply([{ kind: "delete", key }]);
    if (outcome.kind === "refused") throw notFound(uri, await this.#near(orgId, uri));
  }

  /** A policy ready to run; NOT_FOUND names near matches. */
  async runnable(orgId: string, uri: string): Promise<RunnablePolicy> {
    const stored = await this.#require(orgId, uri);
    return { ...stored, code: await this.#code(orgId, stored.record.digest) };
  }

  async #code(orgId: string, digest: string): Promise<PolicyCode> {
    const cacheKey = `${orgId}\t${digest}`;
    const cached = this.#codes.get(cacheKey);
    if (cached !== undefined) return cached;
    const stored = await this.#deps.store.get<{ files: Record<string, string> }>({
      orgId,
      collection: CODE,
      id: digest,
    });
    if (stored === undefined) throw new BerthError("INTERNAL", `code ${digest} is missing`);
    const code: PolicyCode = { digest, language: "python", files: stored.body.files };
    const [oldest] = this.#codes.keys();
    if (this.#codes.size >= MAX_CACHED_CODES && oldest !== undefined) this.#codes.delete(oldest);
    this.#codes.set(cacheKey, code);
    return code;
  }

  async #stored(orgId: string, uri: string): Promise<StoredPolicy | undefined> {
    const key = { orgId, collection: RECORDS, id: uri };
    return (await this.#deps.store.get<StoredPolicy>(key))?.body;
  }

  async #require(orgId: string, uri: string): Promise<StoredPolicy> {
    const stored = await this.#stored(orgId, uri);
    if (stored === undefined) throw notFound(uri, await this.#near(orgId, uri));
    return stored;
  }

  async #near(orgId: string, uri: string): Promise<readonly string[]> {
    const uris = (await this.list(orgId)).map((record) => record.policy_rule_uri);
    return nearMatches(uri, uris);
  }
}

function losslessDefaults(bodyText: string): PolicyDefaults {
  const body = parseLossless(bodyText);
  const field = (name: string): string =>
    JSON.stringify((isJsonObject(body) ? body[name] : undefined) ?? {});
  return { settingsJson: field("policy_settings"), parametersJson: field("policy_parameters") };
}

function sameOrRefuse(
  existing: StoredPolicy,
  record: PolicyRecord,
  defaults: PolicyDefaults,
): PolicyRecord {
  const same =
    existing.record.digest === record.digest &&
    existing.settingsJson === defaults.settingsJson &&
    existing.parametersJson === defaults.parametersJson;
  if (same) return existing.record;
  const message = `policy ${record.policy_rule_uri} is published with other code or defaults; publish a new version`;
  throw new BerthError("ALREADY_EXISTS", message);
}

function notFound(uri: string, near: readonly string[]): BerthError {
  const hint = near.length === 0 ? "" : ` Did you mean ${near.join(" or ")}?`;
  const shown = uri.length <= MAX_SHOWN_URI ? uri : `${uri.slice(0, MAX_SHOWN_URI)}…`;
  const message = `Policy rule with URI '${shown}' not found.${hint}`;
  return new BerthError("NOT_FOUND", message, near.length === 0 ? {} : { details: { near } });
}
