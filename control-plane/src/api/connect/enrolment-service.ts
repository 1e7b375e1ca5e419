import { EnrolmentService } from "@berth/proto";
import { authorizationOf, type Enrolment, MAX_ENROL_BYTES } from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";

/**
 * Serves berth.enrolment.v1.EnrolmentService on a Connect router: how a cluster-agent gets a key of its
 * own. The subject is the cluster id. A message holds at most {@link MAX_ENROL_BYTES}.
 */
export function enrolmentRoutes(router: ConnectRouter, enrolment: Pick<Enrolment, "enrol">): void {
  router.service(
    EnrolmentService,
    {
      async enrol({ subjectId, identity, keySha256 }, context) {
        await enrolment.enrol(authorizationOf(context), { subjectId, identity, keySha256 });
        return { subjectId };
      },
    },
    { readMaxBytes: MAX_ENROL_BYTES },
  );
}
