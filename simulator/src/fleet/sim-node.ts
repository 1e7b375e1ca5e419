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
import { Code } from "@connectrpc/connect";
import type { LoadPattern } from "../sources/load-pattern.ts";
import { digestOf, idSeedOf, seedOf } from "../sources/mixed-hash.ts";
import { type NodeGpu, nodeGpus } from "../sources/node-gpus.ts";
import type { MachineProfile } from "../sources/profile.ts";
import { SimGpuSource } from "../sources/sim-gpu-source.ts";
import { SimHostSource } from "../sources/sim-host-source.ts";
import { FALLEN_OFF_BUS, SimKernelLog } from "../sources/sim-kernel-log.ts";
import type { Wheel } from "../sources/wheel.ts";
import { type FleetState, nodeIncarnation, nodeKey } from "./fleet-state.ts";
import { inMemoryClient } from "./in-memory-client.ts";
import type { NodeDoor } from "./node-door.ts";

/** What a {@link SimNode} is made from. */
export interface SimNodeOptions {
  readonly nodeId: string;
  readonly fleetState: FleetState;
  /** Enrolment token of the cluster-agent. */
  readonly enrolmentToken: string;
  readonly machine: MachineProfile;
  readonly gpuCount: number;
  /** The load of the moment. */
  readonly pattern: () => LoadPattern;
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
  /** Slots of GPUs whose XID 79 was logged: only another boot brings them back. */
  readonly fallen: Set<number>;
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
  readonly #seed: number;
  readonly #gpus: readonly NodeGpu[];
  #door: NodeDoor | undefined;
  #boots = 0;
  #boot: Boot | undefined;
  #cut = new AbortController();
  #isCut = false;
  #registered = Promise.withResolvers<void>();
  #isRegistered = false;

  constructor(options: SimNodeOptions) {
    this.id = options.nodeId;
    this.#options = options;
    this.#key = `${options.seed}/${options.nodeId}`;
    this.#seed = seedOf(this.#key);
    this.#gpus = nodeGpus(options.machine.gpus, options.gpuCount, idSeedOf(`ids/${this.#key}`));
  }

  /** Number of GPUs. */
  get gpuCount(): number {
    return this.#gpus.length;
  }

  /** Whether the agent has registered in this boot. */
  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  /** Whether the machine is switched on: nothing can fail of one that is off. */
  get isOn(): boolean {
    return this.#boot !== undefined;
  }

  /** Boots the machine; resolves when its agent has registered, or after 10 s. */
  async start(door: NodeDoor): Promise<void> {
    this.#door = door;
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

  /**
   * Takes a GPU from its driver. With `logged` it has fallen off its bus: the kernel log says so (XID 79), and it
   * is gone for the rest of the boot. A GPU that is to come back within it is lost without a word.
   */
  failGpu(slot: number, { logged }: { readonly logged: boolean }): void {
    if (logged) this.xid(slot, FALLEN_OFF_BUS);
    else this.#boot?.gpu.fail(slot);
  }

  /** Puts a GPU back; one that has fallen off its bus does not come back before the next boot. */
  restoreGpu(slot: number): void {
    if (this.#boot?.fallen.has(slot) === false) this.#boot.gpu.restore(slot);
  }

  /** Makes the driver report an XID of a GPU; XID 79 takes the GPU along, as on a real machine. */
  xid(slot: number, code: number): void {
    const [gpu, boot] = [this.#gpus[slot], this.#boot];
    if (gpu === undefined || boot === undefined) return;
    boot.kernelLog.xid(gpu.info.pciBusId, code);
    if (code !== FALLEN_OFF_BUS) return;
    boot.fallen.add(slot);
    boot.gpu.fail(slot);
  }

  async #up(): Promise<void> {
    this.#registered = Promise.withResolvers<void>();
    const boot = this.#compose();
    this.#boot = boot;
    await startAll(boot.parts, this.#options.logger);
  }

  #compose(): Boot {
    const { nodeId, fleetState, enrolmentToken, machine, clock, logger, wheel } = this.#options;
    const { pattern, phaseMs, bornMs } = this.#options;
    const about = { pattern, seed: this.#seed, clock, wheel, phaseMs, bornMs };
    const gpu = new SimGpuSource({ ...about, recorded: machine.gpus, gpus: this.#gpus });
    const host = new SimHostSource({ ...about, hostname: nodeId, host: machine.host });
    const kernelLog = new SimKernelLog(clock);
    const config = {
      dataDir: "",
      // Never dialled: `dial` below takes its place.
      clusterAgentUrl: "http://127.0.0.1:32001",
      enrolmentToken,
      caFile: "",
      nodeId,
      nvidiaSmi: "",
      kernelLog: "",
      // 10,000 nodes have no ports of their own; their cluster-agents tell of them.
      metricsPort: 0,
      metricsHost: "",
      allowedHosts: [],
      allowedOrigins: [],
    };
    const identity = { machineId: digestOf(this.#key), bootId: randomUUID() };
    this.#boots += 1;
    const kept = {
      incarnation: nodeIncarnation(fleetState, this.#boots),
      key: nodeKey(fleetState, nodeId),
    };
    const parts = composeNodeAgent(config, logger, {
      clock,
      gpu,
      host,
      kernelLog,
      identity,
      kept,
      dial: (own) => this.#dial(own),
    });
    return { parts, gpu, kernelLog, fallen: new Set() };
  }

  async #dial(own: DialCredentials): Promise<NodeServiceClient> {
    if (this.#isCut || this.#door === undefined) {
      const error = new BerthError("UNAVAILABLE", "the node is cut off by a fault");
      throw Object.assign(error, { code: Code.Unavailable });
    }
    return inMemoryClient(this.#door, {
      own,
      logger: this.#options.logger,
      cut: this.#cut.signal,
      onRegistered: () => {
        this.#isRegistered = true;
        this.#registered.resolve();
      },
    });
  }
}
