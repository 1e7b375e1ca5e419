import type { AgentRegisterRequest } from "@berth/proto";
import {
  type AgentInstance,
  BerthError,
  type Candidate,
  type DuplicateVerdict,
} from "@berth/service-kit";

/** The process that registers. Boots are not known of cluster-agents. */
export function askingInstance(
  request: AgentRegisterRequest,
  address: string | undefined,
): AgentInstance {
  const { agentInstanceId: instanceId, agentIncarnation } = request;
  const about = { instanceId, bootId: "", incarnation: Number(agentIncarnation) };
  return address === undefined ? about : { ...about, address };
}

/** What an agent is told that is not let in beside another one of its cluster; undefined when it is let in. */
export function duplicateRefusal(
  clusterId: string,
  verdict: DuplicateVerdict,
): BerthError | undefined {
  if (verdict === "taken") return undefined;
  if (verdict === "wait") {
    const message = `cluster_id: the other agent of cluster ${clusterId} may still be there; try again`;
    return new BerthError("UNAVAILABLE", message);
  }
  const message =
    verdict === "duplicate"
      ? `cluster_id: two agents run as cluster ${clusterId} on copies of one state; both are refused until an operator picks one with \`berth pick cluster ${clusterId}\``
      : `cluster_id: an operator has picked another agent as cluster ${clusterId}; stop this one, or give it a data directory and a BERTH_CLUSTER_ID of its own, and enrol it`;
  return new BerthError("ALREADY_EXISTS", message);
}

/** Facts of the event that tells of two agents. */
export function duplicateFacts(candidates: readonly Candidate[]): Record<string, unknown> {
  return {
    reason: "two agents run on copies of one state; both are refused until an operator picks one",
    candidates: candidates.map((candidate) => ({
      agent_instance_id: candidate.instanceId,
      agent_incarnation: candidate.incarnation,
      address: candidate.address ?? null,
      first_seen_at: candidate.firstSeenAt,
    })),
  };
}
