import { randomUUID } from "node:crypto";
import {
  type Clock,
  type Logger,
  openAgentIdentity,
  type Part,
  systemClock,
} from "@berth/service-kit/base";
import { GpuMonitor } from "./gpu/gpu-monitor.ts";
import type { GpuSource } from "./gpu/gpu-source.ts";
import type { GpuTimings } from "./gpu/gpu-timings.ts";
import type { SmiCommand } from "./gpu/smi-process.ts";
import { BootGpus } from "./health/boot-gpus.ts";
import { HealthMonitor } from "./health/health-monitor.ts";
import type { KernelLog } from "./health/kernel-log.ts";
import { KernelLogReader, type KernelLogTimings } from "./health/kernel-log-reader.ts";
import { countStart } from "./host/agent-state.ts";
import { HostMonitor } from "./host/host-monitor.ts";
import type { HostSource } from "./host/host-source.ts";
import { InstanceFinder } from "./host/instance-finder.ts";
import { defaultNodeId, type Identity, readIdentity } from "./host/node-identity.ts";
import { type LinkTimings, NodeLink, type OpenedAgent } from "./report/node-link.ts";
import {
  type DialOptions,
  dialNodeService,
  type NodeServiceClient,
} from "./report/node-service-client.ts";
import type { NodeAgentConfig } from "./settings.ts";
import { AGENT_VERSION } from "./version.ts";

/** What an agent shows to the cluster-agent: the headers of {@link DialOptions}. */
export type DialCredentials = Pick<DialOptions, "authorization" | "enrolmentAuthorization">;

/** Parts of a node-agent that may be others than those of this machine: a simulator's, a test's. */
export interface NodeAgentReplacements {
  readonly clock?: Clock;
  /** Where GPUs come from; `nvidia-smi` by default. */
  readonly gpu?: GpuSource;
  /** Where host facts and samples come from; this machine by default. */
  readonly host?: HostSource;
  /** Where the kernel log comes from; this machine's by default. */
  readonly kernelLog?: KernelLog;
  /** Who the machine is; read from the kernel by default. */
  readonly identity?: Identity;
  /** How the cluster-agent is reached; one gRPC connection per session by default. */
  readonly dial?: (own: DialCredentials) => Promise<NodeServiceClient>;
  /** How nvidia-smi is started; the setting's command with this process's environment by default. */
  readonly smi?: SmiCommand;
  readonly gpuTimings?: GpuTimings;
  readonly linkTimings?: LinkTimings;
  readonly kernelLogTimings?: KernelLogTimings;
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
  const { gpuTimings, linkTimings, kernelLogTimings } = replacements;
  const instances = new InstanceFinder();
  const gpu =
    replacements.gpu ??
    new GpuMonitor({
      smi: replacements.smi ?? { command: config.nvidiaSmi },
      clock,
      logger,
      instanceOf: (pid) => instances.instanceOf(pid),
      ...(gpuTimings === undefined ? {} : { timings: gpuTimings }),
    });
  const host = replacements.host ?? new HostMonitor({ clock, logger });
  const kernelLog =
    replacements.kernelLog ??
    new KernelLogReader({
      file: config.kernelLog,
      clock,
      logger,
      ...(kernelLogTimings === undefined ? {} : { timings: kernelLogTimings }),
    });
  const bootId = async () => (replacements.identity ?? (await readIdentity(""))).bootId;
  const bootGpus = new BootGpus(config.dataDir);
  const health = new HealthMonitor({ gpu, kernelLog, bootGpus, bootId, clock, logger });
  const link = new NodeLink({
    open: () => openAgent(config, logger, replacements),
    gpu,
    host,
    health,
    clock,
    logger,
    ...(linkTimings === undefined ? {} : { timings: linkTimings }),
  });
  // Health listens to the others from their start on.
  return [health, kernelLog, gpu, host, link];
}

async function openAgent(
  config: NodeAgentConfig,
  logger: Logger,
  { identity, dial }: NodeAgentReplacements,
): Promise<OpenedAgent> {
  const state = await countStart(config.dataDir, logger);
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
    instanceId: randomUUID(),
    keySha256,
  };
  const dialOwn = async (signal: AbortSignal) => {
    const ca = await own.serverCa(signal);
    return dialNodeService({ url, ca, authorization, enrolmentAuthorization });
  };
  const shown = { authorization, enrolmentAuthorization };
  return { card, dial: dial === undefined ? dialOwn : () => dial(shown) };
}
