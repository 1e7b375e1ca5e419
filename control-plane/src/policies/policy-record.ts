import { BerthError, parse } from "@berth/service-kit";
import { type Static, Type } from "typebox";

const JsonObject = Type.Object({});

/** Body of `POST /policy`: the record, and the code as `files`, `archive` or `code`. */
export const PublishBody = Type.Object({
  name: Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" }),
  version: Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$" }),
  release_tag: Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }),
  description: Type.Optional(Type.String({ maxLength: 10_000 })),
  tags: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  type: Type.Optional(Type.String({ maxLength: 128 })),
  metadata: Type.Optional(JsonObject),
  /** Inline source of code/function.py, or an http(s) URL of an archive, fetched once. */
  code: Type.Optional(Type.String()),
  code_type: Type.Optional(Type.String()),
  /** Files of the policy: {"code/function.py": "..."}. */
  files: Type.Optional(Type.Record(Type.String(), Type.String())),
  /** A zip or tar archive (any compression) in base64. */
  archive: Type.Optional(Type.String()),
  policy_input_schema: Type.Optional(JsonObject),
  policy_output_schema: Type.Optional(JsonObject),
  policy_settings_schema: Type.Optional(JsonObject),
  policy_parameters_schema: Type.Optional(JsonObject),
  policy_settings: Type.Optional(JsonObject),
  policy_parameters: Type.Optional(JsonObject),
  management_commands_schema: Type.Optional(Type.Array(Type.Unknown())),
  functionality_data: Type.Optional(JsonObject),
  resource_estimates: Type.Optional(JsonObject),
});

/** A parsed publish body. */
export type PublishRequest = Static<typeof PublishBody>;

/** What can be changed of a published version: code, schemas and defaults never. */
export const PolicyChange = Type.Partial(
  Type.Object({
    description: Type.String({ maxLength: 10_000 }),
    tags: Type.Union([Type.String(), Type.Array(Type.String())]),
    metadata: JsonObject,
  }),
  { additionalProperties: false },
);

/** A published policy as the store holds it and `GET /policy/<uri>` answers it. */
export interface PolicyRecord {
  /** "name:version-release_tag". */
  readonly policy_rule_uri: string;
  readonly name: string;
  readonly version: string;
  readonly release_tag: string;
  readonly description: string;
  /** Comma-separated, as existing clients send and query them. */
  readonly tags: string;
  readonly type: string;
  readonly metadata: object;
  /** "sha256:<hex>": names the code, which `GET /policy/<uri>/code` gives. */
  readonly code: string;
  readonly code_type: string;
  /** SHA-256 in hex of the files. */
  readonly digest: string;
  readonly policy_input_schema: object;
  readonly policy_output_schema: object;
  readonly policy_settings_schema: object;
  readonly policy_parameters_schema: object;
  readonly policy_settings: object;
  readonly policy_parameters: object;
  readonly management_commands_schema: readonly unknown[];
  readonly functionality_data: object;
  readonly resource_estimates: object;
  /** Imports that the sandbox does not have; they may stand inside try/except. */
  readonly unresolved_imports: readonly string[];
}

/** Checks a publish body; INVALID_ARGUMENT names the field. Exactly one source of code is needed. */
export function parsePublish(body: unknown): PublishRequest {
  const request = parse(PublishBody, body);
  const sources = (["files", "archive", "code"] as const).filter(
    // Existing clients send an empty `code` beside other sources.
    (key) => request[key] !== undefined && (key !== "code" || request.code !== ""),
  );
  if (sources.length !== 1) {
    const got = sources.length === 0 ? "none" : sources.join(" and ");
    const message = `expected exactly one of files, archive, code; got ${got}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return request;
}

/** The URI of a policy. */
export function policyUri(policy: {
  readonly name: string;
  readonly version: string;
  readonly release_tag: string;
}): string {
  return `${policy.name}:${policy.version}-${policy.release_tag}`;
}

/** The record of a publish request whose code has been read. */
export function toRecord(
  request: PublishRequest,
  digest: string,
  unresolvedImports: readonly string[],
): PolicyRecord {
  return {
    policy_rule_uri: policyUri(request),
    name: request.name,
    version: request.version,
    release_tag: request.release_tag,
    description: request.description ?? "",
    tags: joinTags(request.tags),
    type: request.type ?? "policy",
    metadata: request.metadata ?? {},
    code: `sha256:${digest}`,
    code_type: "files",
    digest,
    policy_input_schema: request.policy_input_schema ?? {},
    policy_output_schema: request.policy_output_schema ?? {},
    policy_settings_schema: request.policy_settings_schema ?? {},
    policy_parameters_schema: request.policy_parameters_schema ?? {},
    policy_settings: request.policy_settings ?? {},
    policy_parameters: request.policy_parameters ?? {},
    management_commands_schema: request.management_commands_schema ?? [],
    functionality_data: request.functionality_data ?? {},
    resource_estimates: request.resource_estimates ?? {},
    unresolved_imports: unresolvedImports,
  };
}

/** Tags in their stored form. */
export function joinTags(tags: string | readonly string[] | undefined): string {
  return tags === undefined || typeof tags === "string" ? (tags ?? "") : tags.join(",");
}
