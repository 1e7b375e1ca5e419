import {
  EnrolRequestSchema,
  type NodeRegisterRequest,
  type NodeRegisterResponse,
} from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { CallOptions, NodeServiceClient } from "./node-service-client.ts";

/** The cluster-agent did not take the enrolment; `cause` is what the call failed with. */
export class EnrolmentError extends Error {
  override readonly name = "EnrolmentError";

  constructor(cause: unknown) {
    super("the enrolment failed", { cause });
  }
}

/** Who joins, and how. */
export interface JoinRequest {
  readonly register: NodeRegisterRequest;
  /** SHA-256 of the agent's own key. */
  readonly keySha256: Uint8Array;
  readonly call: CallOptions;
  /** Hears that the own key was enrolled. */
  readonly onEnrolled: () => void;
}

/**
 * Registers. When the cluster-agent does not know the agent's key and an enrolment token is configured,
 * enrols first, once, and registers again. Rejects with what a call failed with, an
 * {@link EnrolmentError} when that was the enrolment.
 */
export async function join(
  client: NodeServiceClient,
  request: JoinRequest,
): Promise<NodeRegisterResponse> {
  try {
    return await client.register(request.register, request.call);
  } catch (thrown) {
    if (!isUnauthenticated(thrown) || client.enrol === undefined) throw thrown;
  }
  await enrol(client.enrol, request);
  request.onEnrolled();
  return client.register(request.register, request.call);
}

async function enrol(
  call: NonNullable<NodeServiceClient["enrol"]>,
  { register, keySha256, call: options }: JoinRequest,
): Promise<void> {
  const machineId = register.fingerprint?.identity?.machineId ?? "";
  const subject = { subjectId: register.nodeId, identity: `machine:${machineId}` };
  try {
    await call(create(EnrolRequestSchema, { ...subject, keySha256 }), options);
  } catch (cause) {
    throw new EnrolmentError(cause);
  }
}

function isUnauthenticated(thrown: unknown): boolean {
  return (
    typeof thrown === "object" &&
    thrown !== null &&
    "code" in thrown &&
    thrown.code === status.UNAUTHENTICATED
  );
}
