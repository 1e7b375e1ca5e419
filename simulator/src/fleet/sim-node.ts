import { randomUUID } from "node:crypto";
import { composeNodeAgent, type DialCredentials, type NodeServiceClient } from "@berth/node-agent";
import {
  BerthError,
  type Clock,
  type Logger,
  type Part,
  startAll,
  stopAll,
} from "@berth/service-kit";
import { Code, type Transport } from "@connectrpc/connect";
import type { LoadPattern } from "../sources/load-pattern.ts";
import { digestOf, seedOf } from "../sources/mixed-hash.ts";
import { type NodeGpu, nodeGpus } from "../sources/node-gpus.ts";
import type { MachineProfile } from "../sources/profile.ts";
import { SimGpuSource } from "../sources/sim-gpu-source.ts";
import { SimHostSource } from "../sources/sim-host-source.ts";
import { FALLEN_OFF_BUS, SimKernelLog } from "../sources/sim-kernel-log.ts";
import type { Wheel } from "../sources/wheel.ts";
import { inMemoryClient } from "./in-memory-client.ts";

/** What a {@link SimNode} is made from. */
export interface SimNodeOptions {
  readonly nodeId: string;
  readonly dataDir: string;
  /** Enrolment token of the cluster-agent. */
  readonly enrolmentToken: string;
  readonly machine: MachineProfile;
  readonly gpuCount: number;
  readonly pattern: LoadPattern;
  /** Seed of the fleet. */
  readonly seed: number;
  readonly phaseMs: number;
  readonly bornMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly wheel: Wheel;
}

interface Boot {
  readonly parts: readonly Part[];
  readonly gpu: SimGpuSource;
  readonly kernelLog: SimKernelLog;
}

/** How long the start waits for the registration before it leaves the agent to its own tries. */
const REGISTRATION_LIMIT_MS = 10_000;

/**
 * One simulated machine: a real node-agent around simulated sources. It can be rebooted, cut off, and
 * its GPUs can fail; what failed within a boot is whole again after a reboot.
 */
export class SimNode {
  readonly id: string;
  readonly #options: SimNodeOptions;
  readonly #key: string;
  readonly #gpus: readonly NodeGpu[];
  #transport: Transport | undefined;
  #boot: Boot | undefined;
  #cut = new AbortController();
  #isCut = false;
  #registered = Promise.withResolvers<void>();
  #isRegistered = false;

  constructor(options: SimNodeOptions) {
    this.id = options.nodeId;
    this.#options = options;
    this.#key = `${options.seed}/${options.nodeId}`;
    this.#gpus = nodeGpus(options.machine.gpus, options.gpuCount, this.#key);
  }

  /** Number of GPUs. */
  get gpuCount(): number {
    return this.#gpus.length;
  }

  /** Whether the agent has registered in this boot. */
  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  /** Boots the machine; resolves when its agent has registered, or after 10 s. */
  async start(transport: Transport): Promise<void> {
    this.#transport = transport;
    await this.#up();
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, REGISTRATION_LIMIT_MS);
    await Promise.race([this.#registered.promise, late.promise]);
    clearTimeout(timer);
  }

  /** Switches the machine off; nothing happens when it is off. */
  async stop(): Promise<void> {
    const boot = this.#boot;
    this.#boot = undefined;
    this.#isRegistered = false;
    if (boot !== undefined) await stopAll(boot.parts, this.#options.logger);
  }

  /** Switches the machine on after {@link stop}, with another boot id; nothing happens when it is on. */
  async powerOn(): Promise<void> {
    if (this.#boot === undefined) await this.#up();
  }

  /** Cuts the machine off from its cluster-agent, or connects it again. */
  setPartitioned(cut: boolean): void {
    if (cut === this.#isCut) return;
    this.#isCut = cut;
    if (cut) this.#cut.abort();
    else this.#cut = new AbortController();
  }

  /** Makes the driver hang, or go on. */
  setHung(hung: boolean): void {
    this.#boot?.gpu.setHung(hung);
  }

  /** Lets a GPU fall off its bus. */
  failGpu(slot: number): void {
    this.xid(slot, FALLEN_OFF_BUS);
    this.#boot?.gpu.fail(slot);
  }

  /** Puts a GPU back. */
  restoreGpu(slot: number): void {
    this.#boot?.gpu.restore(slot);
  }

  /** Makes the driver report an XID of a GPU. */
  xid(slot: number, code: number): void {
    const gpu = this.#gpus[slot];
    if (gpu !== undefined) this.#boot?.kernelLog.xid(gpu.info.pciBusId, code);
  }

  async #up(): Promise<void> {
    this.#registered = Promise.withResolvers<void>();
    const boot = this.#compose();
    this.#boot = boot;
    await startAll(boot.parts, this.#options.logger);
  }

  #compose(): Boot {
    const { nodeId, dataDir, enrolmentToken, machine, clock, logger, wheel } = this.#options;
    const { pattern, phaseMs, bornMs } = this.#options;
    const seed = seedOf(this.#key);
    const about = { pattern, seed, clock, wheel, phaseMs, bornMs };
    const gpu = new SimGpuSource({ ...about, recorded: machine.gpus, gpus: this.#gpus });
    const host = new SimHostSource({ ...about, hostname: nodeId, host: machine.host });
    const kernelLog = new SimKernelLog(clock);
    const config = {
      dataDir,
      // Never dialled: `dial` below takes its place.
      clusterAgentUrl: "http://127.0.0.1:32001",
      enrolmentToken,
      caFile: "",
      nodeId,
      nvidiaSmi: "",
      kernelLog: "",
    };
    const identity = { machineId: digestOf(this.#key), bootId: randomUUID() };
    const parts = composeNodeAgent(config, logger, {
      clock,
      gpu,
      host,
      kernelLog,
      identity,
      dial: (own) => this.#dial(own),
    });
    return { parts, gpu, kernelLog };
  }

  async #dial(own: DialCredentials): Promise<NodeServiceClient> {
    if (this.#isCut || this.#transport === undefined) {
      const error = new BerthError("UNAVAILABLE", "the node is cut off by a fault");
      throw Object.assign(error, { code: Code.Unavailable });
    }
    return inMemoryClient(this.#transport, own, {
      cut: this.#cut.signal,
      onRegistered: () => {
        this.#isRegistered = true;
        this.#registered.resolve();
      },
    });
  }
}
