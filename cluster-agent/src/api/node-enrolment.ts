import {
  EnrolmentService,
  type EnrolRequest,
  type EnrolResponse,
  EnrolResponseSchema,
} from "@berth/proto";
import { authorizationOf, type Enrolment, MAX_ENROL_BYTES } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";

/** The route by which node-agents get a key of their own (subject = node id). */
export function enrolmentRoutes(
  enrolment: Pick<Enrolment, "enrol">,
): (router: ConnectRouter) => void {
  return (router) => {
    const calls = {
      enrol: (request: EnrolRequest, context: HandlerContext) => enrol(enrolment, request, context),
    };
    router.service(EnrolmentService, calls, { readMaxBytes: MAX_ENROL_BYTES });
  };
}

async function enrol(
  enrolment: Pick<Enrolment, "enrol">,
  { subjectId, identity, keySha256 }: EnrolRequest,
  context: HandlerContext,
): Promise<EnrolResponse> {
  await enrolment.enrol(authorizationOf(context), { subjectId, identity, keySha256 });
  return create(EnrolResponseSchema, { subjectId });
}
