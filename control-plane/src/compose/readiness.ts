import {
  type BusStatus,
  type DocumentStore,
  type MirrorStatus,
  toBerthError,
} from "@berth/service-kit";
import type { DecisionLog } from "../allocation/decisions/decision-log.ts";
import type { OrgTransactions } from "../org/store/org-transactions.ts";
import type { SandboxReadiness } from "./sandbox-health.ts";

/** What {@link readiness} looks at. */
export interface ReadinessParts {
  readonly store: Pick<DocumentStore, "storeId">;
  readonly decisions: Pick<DecisionLog, "failure">;
  readonly org: Pick<OrgTransactions, "failure">;
  readonly sandbox: SandboxReadiness;
  readonly bus: BusStatus;
  /** Absent when there is none. */
  readonly mirror: MirrorStatus | undefined;
  readonly version: string;
}

/**
 * What `/readyz` tells. `store` is "ready", or what is wrong with it. What cannot be written of decisions, or of the org, does not
 * keep the control-plane from deciding, so it shows there and leaves it ready, as a bus or a mirror that is away does; a store that
 * does not answer, or is known to be damaged, does not.
 */
export async function readiness(parts: ReadinessParts) {
  const { store, decisions, org, sandbox, bus, mirror, version } = parts;
  const broken = await store.storeId().then(
    () => undefined,
    (err: unknown) => toBerthError(err).message,
  );
  const unwritten = [
    ...(org.failure === undefined ? [] : [`the org cannot be written: ${org.failure}`]),
    ...(decisions.failure === undefined
      ? []
      : [`decisions cannot be written: ${decisions.failure}`]),
  ];
  return {
    ready: sandbox.snapshot === "ready" && broken === undefined,
    parts: {
      ...{ version, store: broken ?? (unwritten.join("; ") || "ready"), sandbox },
      bus: connection(bus),
      mirror: mirror === undefined ? "none" : connection(mirror),
    },
  };
}

function connection({ isConnected, why }: BusStatus | MirrorStatus): string {
  return isConnected && why === undefined ? "ready" : (why ?? "not connected");
}
