import { type PolicyRunDeps, runPolicy } from "@berth/policy-sandbox";
import { BerthError, isJsonObject } from "@berth/service-kit";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";

/** A replica that may go, as policies see it. */
export interface ReplicaToGo {
  readonly id: string;
  readonly nodeId: string;
  /** Absent of the instances of a block, which are on one cluster. */
  readonly clusterId?: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly ready: boolean;
}

/** Which replicas go. */
export interface Victims {
  /**
   * The ids of `count` replicas, which a policy picks where one is named: it gets `{"subject_id", "count", "replicas": [{"id",
   * "node_id", "created_at", "ready"}]}`, with the "cluster_id" of replicas without a block, and returns ids, bare or as `{"victims": […]}`. POLICY_FAILED when it does not.
   */
  choose(
    replicas: readonly ReplicaToGo[],
    asked: {
      readonly subjectId: string;
      readonly count: number;
      readonly uri: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<readonly string[]>;
}

/** What {@link openVictims} runs policies with. */
export interface VictimsDeps extends PolicyRunDeps {
  readonly orgId: string;
  readonly policies: Pick<PolicyRegistry, "runnable">;
}

/** {@link Victims} with the policies of the registry. */
export function openVictims(deps: VictimsDeps): Victims {
  return {
    async choose(replicas, { subjectId, count, uri }, signal) {
      if (uri === undefined) return newest(replicas, count);
      const policy = await deps.policies.runnable(deps.orgId, uri);
      const shown = replicas.map(({ id, nodeId, clusterId, createdAt, ready }) => ({
        ...{ id, node_id: nodeId, created_at: createdAt, ready },
        ...(clusterId === undefined ? {} : { cluster_id: clusterId }),
      }));
      const inputJson = JSON.stringify({ subject_id: subjectId, count, replicas: shown });
      const request = { orgId: deps.orgId, policy, kind: "ranking" as const, signal, inputJson };
      const run = await runPolicy(
        { ...request, parameters: {}, settings: {}, fieldPrefix: "", clients: {} },
        deps,
      );
      if (run.kind === "failed") throw run.error;
      return readVictims(uri, run.resultJson, { replicas, count });
    },
  };
}

/** The replicas that go without a policy: those that are not ready, then the newest. */
export function newest(replicas: readonly ReplicaToGo[], count: number): readonly string[] {
  const order = replicas.toSorted((one, other) => {
    if (one.ready !== other.ready) return one.ready ? 1 : -1;
    return one.createdAt < other.createdAt ? 1 : -1;
  });
  return order.slice(0, count).map(({ id }) => id);
}

/** Reads the result of a policy: as many ids as were asked for, each of a replica, none twice. POLICY_FAILED. */
export function readVictims(
  uri: string,
  resultJson: string,
  { replicas, count }: { readonly replicas: readonly ReplicaToGo[]; readonly count: number },
): readonly string[] {
  const result: unknown = JSON.parse(resultJson);
  const ids = isJsonObject(result) ? result.victims : result;
  const bad = (why: string) =>
    new BerthError("POLICY_FAILED", `policy ${uri} returned an invalid result: ${why}`);
  if (!Array.isArray(ids)) throw bad("expected a list of replicas, or {victims: [...]}");
  const known = new Set(replicas.map(({ id }) => id));
  const stranger = ids.find((id: unknown) => typeof id !== "string" || !known.has(id));
  if (stranger !== undefined) throw bad(`${JSON.stringify(stranger).slice(0, 100)} is no replica`);
  if (new Set(ids).size < ids.length) throw bad("it names a replica twice");
  if (ids.length === count) return ids;
  throw bad(`expected ${count} replicas, got ${ids.length}`);
}
