import { randomUUID } from "node:crypto";
import {
  type Clock,
  type Logger,
  openAgentIdentity,
  type Part,
  systemClock,
} from "@berth/service-kit/base";
import { GpuMonitor, type GpuTimings } from "./gpu/gpu-monitor.ts";
import type { GpuSource } from "./gpu/gpu-source.ts";
import type { SmiCommand } from "./gpu/smi-process.ts";
import { countStart } from "./host/agent-state.ts";
import { HostMonitor } from "./host/host-monitor.ts";
import type { HostSource } from "./host/host-source.ts";
import { defaultNodeId, type Identity, readIdentity } from "./host/node-identity.ts";
import { type LinkTimings, NodeLink, type OpenedAgent } from "./report/node-link.ts";
import { dialNodeService, type NodeServiceClient } from "./report/node-service-client.ts";
import type { NodeAgentConfig } from "./settings.ts";
import { AGENT_VERSION } from "./version.ts";

/** Parts of a node-agent that may be others than those of this machine: a simulator's, a test's. */
export interface NodeAgentReplacements {
  readonly clock?: Clock;
  /** Where GPUs come from; `nvidia-smi` by default. */
  readonly gpu?: GpuSource;
  /** Where host facts and samples come from; this machine by default. */
  readonly host?: HostSource;
  /** Who the machine is; read from the kernel by default. */
  readonly identity?: Identity;
  /** How the cluster-agent is reached; one gRPC connection per session by default. */
  readonly dial?: () => Promise<NodeServiceClient>;
  /** How nvidia-smi is started; the setting's command with this process's environment by default. */
  readonly smi?: SmiCommand;
  readonly gpuTimings?: GpuTimings;
  readonly linkTimings?: LinkTimings;
}

/**
 * Puts one node-agent together; nothing runs before its parts are started. Any number of agents can be
 * composed in one process. The start fails with a BerthError when the data directory or the enrolment
 * token cannot be used.
 */
export function composeNodeAgent(
  config: NodeAgentConfig,
  logger: Logger,
  replacements: NodeAgentReplacements = {},
): readonly Part[] {
  const clock = replacements.clock ?? systemClock;
  const { gpuTimings, linkTimings } = replacements;
  const gpu =
    replacements.gpu ??
    new GpuMonitor({
      smi: replacements.smi ?? { command: config.nvidiaSmi },
      clock,
      logger,
      ...(gpuTimings === undefined ? {} : { timings: gpuTimings }),
    });
  const host = replacements.host ?? new HostMonitor({ clock, logger });
  const link = new NodeLink({
    open: () => openAgent(config, logger, replacements),
    gpu,
    host,
    clock,
    logger,
    ...(linkTimings === undefined ? {} : { timings: linkTimings }),
  });
  return [gpu, host, link];
}

async function openAgent(
  config: NodeAgentConfig,
  logger: Logger,
  { identity, dial }: NodeAgentReplacements,
): Promise<OpenedAgent> {
  const instanceId = randomUUID();
  const state = await countStart(config.dataDir, { instanceId, logger });
  const { dataDir: directory, clusterAgentUrl: url, enrolmentToken, caFile } = config;
  const own = await openAgentIdentity({
    directory,
    server: "cluster-agent",
    url,
    enrolmentToken,
    caFile,
  });
  const { authorization, enrolmentAuthorization, keySha256 } = own;
  const card = {
    nodeId: config.nodeId === "" ? defaultNodeId() : config.nodeId,
    incarnation: state.incarnation,
    identity: identity ?? (await readIdentity(state.fallbackMachineId)),
    agentVersion: AGENT_VERSION,
    instanceId,
    formerInstanceIds: state.formerInstanceIds,
    keySha256,
  };
  const dialOwn = async (signal: AbortSignal) => {
    const ca = await own.serverCa(signal);
    return dialNodeService({ url, ca, authorization, enrolmentAuthorization });
  };
  return { card, wasAnswered: state.wasAnswered, dial: dial ?? dialOwn };
}
