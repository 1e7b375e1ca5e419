import { EnrolmentService } from "@berth/proto";
import { authorizationOf, BerthError, type Enrolment, MAX_ENROL_BYTES } from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";
import type { ClusterAgents } from "../../fleet/cluster-agents.ts";

/** What {@link enrolmentRoutes} serves from. */
export interface ClusterEnrolmentDeps {
  readonly enrolment: Pick<Enrolment, "enrol" | "isMadeFor">;
  readonly agents: Pick<ClusterAgents, "isHeld" | "enrolmentRefused">;
}

/**
 * Serves berth.enrolment.v1.EnrolmentService on a Connect router: how a cluster-agent gets a key of its
 * own. The subject is the cluster id. A message holds at most {@link MAX_ENROL_BYTES}. UNAVAILABLE while
 * the agent that has the cluster may still be there: only a token that was made for the very id takes
 * its place then.
 */
export function enrolmentRoutes(router: ConnectRouter, deps: ClusterEnrolmentDeps): void {
  const { enrolment } = deps;
  router.service(
    EnrolmentService,
    {
      async enrol({ subjectId, identity, keySha256 }, context) {
        const authorization = authorizationOf(context);
        if (!enrolment.isMadeFor(authorization, subjectId)) {
          await refuseBesideHolder(deps, subjectId, identity);
        }
        await enrolment.enrol(authorization, { subjectId, identity, keySha256 });
        return { subjectId };
      },
    },
    { readMaxBytes: MAX_ENROL_BYTES },
  );
}

/**
 * A second process of one identity, with a token for many, must not end the key of the first. Another identity
 * is refused for good, by the enrolment.
 */
async function refuseBesideHolder(
  { agents }: ClusterEnrolmentDeps,
  clusterId: string,
  identity: string,
): Promise<void> {
  if (!(await agents.isHeld(clusterId, identity))) return;
  const id = JSON.stringify(clusterId);
  const message = `subject_id: the agent of cluster ${id} may still be there; try again, or stop that one; a token that was made for ${id} takes its place at once`;
  agents.enrolmentRefused(clusterId, message);
  throw new BerthError("UNAVAILABLE", message);
}
