import { status } from "@grpc/grpc-js";

/** Why a session with the cluster-agent failed. */
export interface LinkFailure {
  /** Name of the gRPC status code, "INTERNAL" for what is none. */
  readonly code: string;
  /** What the server or the transport said, at most 300 characters. */
  readonly message: string;
  /** Whether a person has to act: the same request will be refused again. */
  readonly refused: boolean;
  /** What a person can do about a refusal; "" otherwise. */
  readonly hint: string;
}

const HINTS = new Map<string, string>([
  ["UNAUTHENTICATED", "check BERTH_NODE_TOKEN: the cluster-agent does not accept it"],
  ["PERMISSION_DENIED", "check BERTH_NODE_TOKEN: the cluster-agent does not accept it for a node"],
  ["INVALID_ARGUMENT", "the cluster-agent does not accept this node's id or fingerprint"],
  ["ALREADY_EXISTS", "another machine holds this node id: set BERTH_NODE_ID to a free one"],
]);

/** Classifies anything that a session threw. */
export function linkFailure(thrown: unknown): LinkFailure {
  const code = codeName(thrown);
  const hint = HINTS.get(code) ?? "";
  return { code, message: messageOf(thrown).slice(0, 300), refused: hint !== "", hint };
}

function codeName(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return "INTERNAL";
  return typeof thrown.code === "number" ? (status[thrown.code] ?? "UNKNOWN") : "INTERNAL";
}

function messageOf(thrown: unknown): string {
  if (typeof thrown === "object" && thrown !== null && "details" in thrown) {
    if (typeof thrown.details === "string") return thrown.details;
  }
  return thrown instanceof Error ? thrown.message : String(thrown);
}
