import { createSandbox, type Sandbox, type SandboxEvent } from "@berth/policy-sandbox";
import type { Logger, Part } from "@berth/service-kit";
import { ProcessTable } from "../runtime/process/process-table.ts";

/** What agents of one process run blocks with together: the machine is looked at once for all of them. */
export interface BlockSharing {
  readonly sandbox: Sandbox;
  readonly table: ProcessTable;
  /** Whether their instances end with them, to be started again with them; those of an agent alone outlive it. */
  readonly endsInstances: boolean;
  /** To be stopped behind the agents. */
  readonly part: Part;
}

/** What the agents of a fleet in one process share; the sandbox starts nothing before it is used. */
export function openBlockSharing(options: {
  /** Directory of the policy sandbox. */
  readonly sandboxDir: string;
  readonly endsInstances: boolean;
  readonly logger: Logger;
}): BlockSharing {
  const { sandboxDir, endsInstances, logger } = options;
  const sandbox = createSandbox({ stateDir: sandboxDir, onEvent: sandboxTeller(logger) });
  return { sandbox, table: new ProcessTable(), endsInstances, part: holding(sandbox) };
}

function holding(sandbox: Sandbox): Part {
  return { name: "policy sandbox", start: async () => {}, stop: () => sandbox.close() };
}

function sandboxTeller(logger: Logger): (event: SandboxEvent) => void {
  return ({ kind, ...facts }) => {
    const isFailure = kind === "snapshot_failed" || kind === "worker_failed_to_start";
    if (isFailure) logger.error("policy sandbox", { kind, ...facts });
    else logger.debug("policy sandbox", { kind, ...facts });
  };
}
