import { type AgentRegisterRequest, ClusterIdentityKind } from "@berth/proto";
import { BerthError, type Principal } from "@berth/service-kit";

const CLUSTER_ID = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,252}$/;
const UUID = /^[0-9a-f-]{36}$/i;
const MAX_STORE_ID_CHARACTERS = 128;
const MAX_VERSION_CHARACTERS = 64;
const MAX_INCARNATION = 1n << 23n;
/** The store counts terms in doubles. */
const MAX_TERM = BigInt(Number.MAX_SAFE_INTEGER);
const MAX_TERM_ID_CHARACTERS = 128;
const MAX_FORMER_INSTANCES = 256;
const IDENTITY_KINDS = new Map<ClusterIdentityKind, string>([
  [ClusterIdentityKind.KUBERNETES, "kubernetes"],
  [ClusterIdentityKind.PROCESS, "process"],
]);

/** Whether a text may be a cluster's id. */
export function isClusterId(text: string): boolean {
  return CLUSTER_ID.test(text);
}

/**
 * Checks the fields of a registration and gives the identity that it claims, "<kind>:<value>".
 * INVALID_ARGUMENT names the bad field.
 */
export function checkRegister(request: AgentRegisterRequest): string {
  if (!isClusterId(request.clusterId)) {
    refuse("cluster_id: expected 1-253 characters of letters, digits, '.', '_' and '-'");
  }
  const { identity } = request;
  if (identity === undefined || identity.value === "" || identity.value.length > 512) {
    return refuse("identity.value: expected 1-512 characters");
  }
  const kind = IDENTITY_KINDS.get(identity.kind);
  if (kind === undefined) return refuse("identity.kind: expected a known kind");
  if (request.agentIncarnation < 1n || request.agentIncarnation > MAX_INCARNATION) {
    refuse(`agent_incarnation: expected 1 to ${MAX_INCARNATION}`);
  }
  if (!UUID.test(request.agentInstanceId)) refuse("agent_instance_id: expected a UUID");
  if (request.agentVersion.length > MAX_VERSION_CHARACTERS) {
    refuse(`agent_version: expected at most ${MAX_VERSION_CHARACTERS} characters`);
  }
  checkMemory(request);
  return `${kind}:${identity.value}`;
}

/** Checks what the agent says that it knows from former registrations. */
function checkMemory(request: AgentRegisterRequest): void {
  if (request.knownStoreId.length > MAX_STORE_ID_CHARACTERS) {
    refuse(`known_store_id: expected at most ${MAX_STORE_ID_CHARACTERS} characters`);
  }
  if (request.knownControllerTerm > MAX_TERM) {
    refuse(`known_controller_term: expected at most ${MAX_TERM}`);
  }
  if (request.knownTermId.length > MAX_TERM_ID_CHARACTERS) {
    refuse(`known_term_id: expected at most ${MAX_TERM_ID_CHARACTERS} characters`);
  }
  const { formerInstanceIds } = request;
  const areUuids = formerInstanceIds.every((id) => UUID.test(id));
  if (formerInstanceIds.length > MAX_FORMER_INSTANCES || !areUuids) {
    refuse(`former_instance_ids: expected at most ${MAX_FORMER_INSTANCES} UUIDs`);
  }
}

/** Why a key does not let its holder register as a cluster. */
export type CredentialVerdict =
  | { readonly kind: "holds" }
  | {
      readonly kind: "refused";
      readonly cause: "cluster" | "identity";
      readonly error: BerthError;
    };

/** Compares what a registration claims with whom the key speaks for, which alone counts. */
export function judgeCredential(
  principal: Principal,
  claimed: { readonly clusterId: string; readonly identity: string },
): CredentialVerdict {
  const { agent } = principal;
  if (agent?.id !== claimed.clusterId) {
    const whose = agent === undefined ? "not an agent's" : `of cluster ${agent.id}`;
    const message = `cluster_id: the key is ${whose}, not of ${claimed.clusterId}; enrol with a token for this cluster id`;
    const error = new BerthError("PERMISSION_DENIED", message);
    return { kind: "refused", cause: "cluster", error };
  }
  if (agent.identity !== claimed.identity) {
    return { kind: "refused", cause: "identity", error: boundElsewhere(claimed.clusterId) };
  }
  return { kind: "holds" };
}

/** The refusal of a second cluster that claims the id of the first. */
export function boundElsewhere(clusterId: string): BerthError {
  const message = `cluster_id: ${clusterId} is bound to another cluster; choose another id, or delete the cluster here first`;
  return new BerthError("ALREADY_EXISTS", message);
}

function refuse(message: string): never {
  throw new BerthError("INVALID_ARGUMENT", message);
}
