import {
  BerthError,
  isJsonObject,
  jsonDepth,
  parse,
  plainOf,
  unfitForPolicies,
  updateLossless,
} from "@berth/service-kit";
import { type Static, Type } from "typebox";

/** Deepest nesting and largest JSON text (in characters) of what a cluster declares. */
export const DECLARED_LIMITS = { depth: 32, characters: 1024 * 1024 } as const;

const anyObject = Type.Record(Type.String(), Type.Unknown());

/** What people say of a cluster; the rest of its document is observed. */
export const declaredClusterSchema = Type.Object(
  {
    regionId: Type.String({ minLength: 1, maxLength: 253 }),
    tags: Type.Array(Type.String({ maxLength: 253 }), { maxItems: 256 }),
    reputation: Type.Number({ minimum: 0, maximum: 100 }),
    clusterMetadata: anyObject,
    config: anyObject,
  },
  { additionalProperties: false },
);

/**
 * A value of {@link declaredClusterSchema}. Its numbers may be `RawNumber`s, which `JSON.stringify` writes as the
 * client wrote them.
 */
export type DeclaredCluster = Static<typeof declaredClusterSchema>;

/** Paths that an update of the cluster cannot reach: they are observed, or filled by the agent. */
const OBSERVED_PATHS = [
  "id",
  "status",
  "nodes",
  "gpus",
  "vcpus",
  "memory",
  "swap",
  "storage",
  "network",
];

const URL_MAP_PATH = /^config\.urlMap(\.|$)/;

/** What a new cluster declares. */
export function defaultDeclaredCluster(about: {
  readonly clusterId: string;
  readonly regionId: string;
  readonly tags: readonly string[];
}): DeclaredCluster {
  return {
    regionId: about.regionId,
    tags: [...about.tags],
    reputation: 100,
    clusterMetadata: { name: about.clusterId, description: "", owner: "" },
    config: {
      publicHostname: "127.0.0.1",
      useGateway: true,
      policyExecutionMode: "local",
      policyExecutorId: "",
      customPolicySystem: {},
      actionsPolicyMap: {},
    },
  };
}

/**
 * Applies an update of a client (plain fields or `$set $unset $inc $push $pull`). Throws
 * INVALID_ARGUMENT that names the field when it is observed, unknown, of another type, or holds what no policy
 * can read. Numbers that are kept as text (`parseLossless`) stay as they were written. `config` as a whole may be given with a `urlMap`, as clients send back what they read; it is left out.
 */
export function updateDeclaredCluster(declared: DeclaredCluster, update: unknown): DeclaredCluster {
  if (jsonDepth(update) > DECLARED_LIMITS.depth) {
    const message = `the update: expected at most ${DECLARED_LIMITS.depth} nested levels`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  refuseUrlMapPaths(update);
  const changed = updateLossless(declared, update, OBSERVED_PATHS) as DeclaredCluster;
  parse(declaredClusterSchema, plainOf(changed));
  if (jsonDepth(changed) > DECLARED_LIMITS.depth) {
    const message = `the cluster: expected at most ${DECLARED_LIMITS.depth} nested levels`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const unfit = unfitField(changed, []);
  if (unfit !== undefined) throw new BerthError("INVALID_ARGUMENT", unfit);
  const { urlMap: _filledByTheAgent, ...config } = changed.config;
  const result = { ...changed, config };
  const size = JSON.stringify(result).length;
  if (size > DECLARED_LIMITS.characters) {
    const message = `the cluster: expected at most ${DECLARED_LIMITS.characters} characters of JSON, got ${size}`;
    throw new BerthError("PAYLOAD_TOO_LARGE", message);
  }
  return result;
}

/** The innermost field that no policy could be given, and why; the value is of a bounded depth. */
function unfitField(value: unknown, path: readonly string[]): string | undefined {
  const problem = unfitForPolicies(value);
  if (problem === undefined) return undefined;
  const fields = isJsonObject(value) || Array.isArray(value) ? Object.entries(value) : [];
  for (const [key, child] of fields) {
    const inner = unfitField(child, [...path, key]);
    if (inner !== undefined) return inner;
  }
  return `${path.join(".")}: ${problem}`;
}

/** `config` as a whole may be replaced, so its urlMap cannot simply be one of the observed paths. */
function refuseUrlMapPaths(update: unknown): void {
  if (!isJsonObject(update)) return;
  const operands = Object.entries(update).flatMap(([key, value]) =>
    key.startsWith("$") && isJsonObject(value) ? Object.keys(value) : [key],
  );
  const path = operands.find((key) => URL_MAP_PATH.test(key));
  if (path === undefined) return;
  throw new BerthError("INVALID_ARGUMENT", `${path}: the agent fills this field itself`);
}
