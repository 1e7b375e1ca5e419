import { isBerthError } from "@berth/service-kit/base";
import { status } from "@grpc/grpc-js";
import { EnrolmentError } from "./join.ts";

/** Why a session with the cluster-agent failed. */
export interface LinkFailure {
  /** Name of the gRPC status code or of the own reason, "INTERNAL" for what is none. */
  readonly code: string;
  /** What the server or the transport said, at most 400 characters. */
  readonly message: string;
  /** Field that the server's message names first; "" when none. Two failures with one code differ by it. */
  readonly field: string;
  /** Whether a person has to act: the same request will be refused again. */
  readonly refused: boolean;
  /** What a person can do about a refusal; "" otherwise. */
  readonly hint: string;
}

const TOKEN_HINT =
  "set BERTH_ENROLMENT_TOKEN to a token that `berth token create --node` prints for this cluster";

const HINTS = new Map<string, string>([
  ["UNAUTHENTICATED", `the cluster-agent does not know this agent's key: ${TOKEN_HINT}`],
  [
    "PERMISSION_DENIED",
    "this agent's key is of another node or machine: restore the former BERTH_NODE_ID, or remove cluster-agent.key in BERTH_DATA_DIR and enrol with a new token",
  ],
  ["INVALID_ARGUMENT", "the cluster-agent does not accept this node's id or fingerprint"],
  [
    "ALREADY_EXISTS",
    "another agent holds this node id: an operator has to pick one, or set BERTH_NODE_ID to a free one",
  ],
  [
    "PRECONDITION_FAILED",
    "check BERTH_CLUSTER_AGENT_URL, BERTH_ENROLMENT_TOKEN and BERTH_CA_FILE: they do not fit together",
  ],
]);

const ENROLMENT_HINTS = new Map<string, string>([
  ["UNAUTHENTICATED", `the enrolment token is not valid any more: ${TOKEN_HINT}`],
  [
    "PERMISSION_DENIED",
    "the enrolment token is for another node, or this one needs a token that was made for it: set BERTH_ENROLMENT_TOKEN to what `berth token create --node <id>` prints for this cluster",
  ],
  [
    "ALREADY_EXISTS",
    "another machine is enrolled under this node id, or another node with a copy of this key: set BERTH_NODE_ID to a free one and BERTH_DATA_DIR to a directory of its own",
  ],
  ["INVALID_ARGUMENT", "the cluster-agent does not accept this node's id"],
]);

const MAX_MESSAGE = 400;

/** Classifies anything that a session threw. */
export function linkFailure(thrown: unknown): LinkFailure {
  const isEnrolment = thrown instanceof EnrolmentError;
  const failed = isEnrolment ? thrown.cause : thrown;
  const code = codeName(failed);
  const hint = (isEnrolment ? ENROLMENT_HINTS : HINTS).get(code) ?? "";
  const said = messageOf(failed);
  const field = /^([a-z_.]+): /.exec(said)?.[1] ?? "";
  const message = (isEnrolment ? `enrolment: ${said}` : said).slice(0, MAX_MESSAGE);
  return { code, message, field, refused: hint !== "", hint };
}

function codeName(thrown: unknown): string {
  if (isBerthError(thrown)) return thrown.reason;
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return "INTERNAL";
  return typeof thrown.code === "number" ? (status[thrown.code] ?? "UNKNOWN") : "INTERNAL";
}

function messageOf(thrown: unknown): string {
  // A BerthError has details of its own, for clients.
  if (!isBerthError(thrown) && typeof thrown === "object" && thrown !== null) {
    if ("details" in thrown && typeof thrown.details === "string") return decoded(thrown.details);
  }
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Servers may escape more of `grpc-message` than grpc-js undoes (connect-node does: ":" as "%3A"). */
function decoded(details: string): string {
  try {
    return decodeURIComponent(details);
  } catch {
    // A "%" that escapes nothing: it is plain text already.
    return details;
  }
}
