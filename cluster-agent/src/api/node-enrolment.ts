import {
  EnrolmentService,
  type EnrolRequest,
  type EnrolResponse,
  EnrolResponseSchema,
} from "@berth/proto";
import { authorizationOf, BerthError, type Enrolment, MAX_ENROL_BYTES } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { machineIdentity } from "../nodes/node-speaker.ts";

/** What {@link enrolmentRoutes} serves from. */
export interface NodeEnrolmentOptions {
  readonly enrolment: Enrolment;
  readonly nodes: NodeRegistry;
}

/** The route by which node-agents get a key of their own (subject = node id). */
export function enrolmentRoutes(options: NodeEnrolmentOptions): (router: ConnectRouter) => void {
  return (router) => {
    const calls = {
      enrol: (request: EnrolRequest, context: HandlerContext) => enrol(options, request, context),
    };
    router.service(EnrolmentService, calls, { readMaxBytes: MAX_ENROL_BYTES });
  };
}

async function enrol(
  { enrolment, nodes }: NodeEnrolmentOptions,
  { subjectId, identity, keySha256 }: EnrolRequest,
  context: HandlerContext,
): Promise<EnrolResponse> {
  // A second agent of one machine, with a token for many, must not end the key of the first. Another
  // machine is refused for good, by the enrolment.
  const machineId = nodes.view(subjectId)?.inventory.machineId;
  if (
    machineId !== undefined &&
    identity === machineIdentity(machineId) &&
    nodes.isHeld(subjectId)
  ) {
    const message = `subject_id: the agent of node ${JSON.stringify(subjectId)} may still be there; try again`;
    throw new BerthError("UNAVAILABLE", message);
  }
  await enrolment.enrol(authorizationOf(context), { subjectId, identity, keySha256 });
  return create(EnrolResponseSchema, { subjectId });
}
