import type { Clock, DocumentStore, Logger } from "@berth/service-kit";
import type { Cluster } from "../cluster/cluster.ts";
import type { AgentPolicies } from "../policies/agent-policies.ts";
import { policyMetrics } from "../prechecks/policy-metrics.ts";
import { PreChecker, type PreCheckerDeps } from "../prechecks/pre-checker.ts";
import { openVerdictLog, type VerdictLog } from "../prechecks/verdict-log.ts";

/** What pre-checks are made from. */
export interface PrechecksOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly cluster: Cluster;
  /** Undefined where this agent runs no policies. */
  readonly policies: AgentPolicies | undefined;
  readonly onEvent: PreCheckerDeps["onEvent"];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Pre-checks, composed. */
export interface Prechecks {
  readonly checker: PreChecker;
  readonly verdicts: VerdictLog;
  /** `config.actionsPolicyMap` as it is now. */
  readonly policyMap: () => unknown;
}

/** Puts the pre-checks together: they follow the cluster's `actionsPolicyMap` as it is at each moment. */
export async function composePrechecks(options: PrechecksOptions): Promise<Prechecks> {
  const { store, orgId, cluster, policies, onEvent, clock, logger } = options;
  const verdicts = await openVerdictLog({ store, orgId, clock, logger });
  const policyMap = () => cluster.policyMap;
  const getMetrics = () => {
    return { kind: "value" as const, json: JSON.stringify(policyMetrics(cluster.metrics())) };
  };
  const checker = new PreChecker({
    ...{ policyMap, policies, log: verdicts, onEvent },
    clients: { get_metrics: { callable: getMetrics, methods: {} } },
  });
  return { checker, verdicts, policyMap };
}
