import { createHash, randomUUID } from "node:crypto";
import {
  type AgentIdentity,
  type Clock,
  type Logger,
  type MetricFamily,
  openAgentIdentity,
  type Part,
  parseToken,
  type ScrapedProgram,
  ScrapeRegistry,
  scrapeServer,
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
import { agentFamilies } from "./report/agent-families.ts";
import { gpuFamilies } from "./report/gpu-families.ts";
import { hostFamilies } from "./report/host-families.ts";
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

/** What an agent keeps over its starts. */
export interface KeptState {
  /** Counts the starts; it has to rise with each. */
  readonly incarnation: number;
  /** The agent's own key: 43 base64url characters. */
  readonly key: string;
}

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
  /**
   * What is kept in the data directory by default; with it nothing is read or written there, and it needs
   * `identity` and `dial` beside it.
   */
  readonly kept?: KeptState;
  /** How the cluster-agent is reached; one gRPC connection per session by default. */
  readonly dial?: (own: DialCredentials) => Promise<NodeServiceClient>;
  /** How nvidia-smi is started; the setting's command with this process's environment by default. */
  readonly smi?: SmiCommand;
  /** The process that metrics tell of; without it none are served, whatever the settings say. */
  readonly usage?: ScrapedProgram["usage"];
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
  const bootGpus = new BootGpus(replacements.kept === undefined ? config.dataDir : undefined);
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
  const parts = [health, kernelLog, gpu, host, link];
  const { usage } = replacements;
  if (usage === undefined || config.metricsPort === 0) return parts;
  const families = [...hostFamilies(host), ...gpuFamilies(gpu), ...agentFamilies({ health, link })];
  return [...parts, metricsPart(config, logger, { usage, families })];
}

function metricsPart(
  { metricsHost: host, metricsPort: port, allowedHosts, allowedOrigins }: NodeAgentConfig,
  logger: Logger,
  { usage, families }: { usage: ScrapedProgram["usage"]; families: readonly MetricFamily[] },
): Part {
  const registry = new ScrapeRegistry({ program: "node-agent", version: AGENT_VERSION, usage });
  registry.add(...families);
  return scrapeServer({
    registry,
    address: { host, port, setting: "BERTH_METRICS_PORT", hostSetting: "BERTH_METRICS_HOST" },
    origins: { allowedHosts: [...allowedHosts, host], allowedOrigins },
    logger,
  });
}

async function openAgent(
  config: NodeAgentConfig,
  logger: Logger,
  { identity, dial, kept }: NodeAgentReplacements,
): Promise<OpenedAgent> {
  const instanceId = randomUUID();
  const state =
    kept === undefined ? await countStart(config.dataDir, { instanceId, logger }) : keptStart(kept);
  const own = kept === undefined ? await openOwn(config) : keptOwn(kept, config);
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
  const url = config.clusterAgentUrl;
  const dialOwn = async (signal: AbortSignal) => {
    const ca = await own.serverCa(signal);
    return dialNodeService({ url, ca, authorization, enrolmentAuthorization });
  };
  const shown = { authorization, enrolmentAuthorization };
  const { wasAnswered } = state;
  return { card, wasAnswered, dial: dial === undefined ? dialOwn : () => dial(shown) };
}

/** The start of an agent whose state somebody else keeps. */
function keptStart({ incarnation }: KeptState) {
  return {
    ...{ incarnation, fallbackMachineId: "", formerInstanceIds: [] },
    wasAnswered: async () => {},
  };
}

function openOwn(config: NodeAgentConfig): Promise<AgentIdentity> {
  const { dataDir: directory, clusterAgentUrl: url, enrolmentToken, caFile } = config;
  return openAgentIdentity({ directory, server: "cluster-agent", url, enrolmentToken, caFile });
}

function keptOwn({ key }: KeptState, { enrolmentToken }: NodeAgentConfig): AgentIdentity {
  const token = parseToken(enrolmentToken);
  return {
    authorization: `Bearer ${key}`,
    keySha256: createHash("sha256").update(key).digest(),
    enrolmentAuthorization: token && `Bearer ${token.secret}`,
    serverCa: async () => undefined,
  };
}
