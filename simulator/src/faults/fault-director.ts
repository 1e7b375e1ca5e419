import { BerthError, type Logger, type Part } from "@berth/service-kit";
import type { FleetSize } from "../fleet/fleet-plan.ts";
import type { SimCluster } from "../fleet/sim-cluster.ts";
import type { SimNode } from "../fleet/sim-node.ts";
import { chooseTarget, type FaultTarget, targetText } from "./choose-target.ts";
import type { Fault, FaultKind } from "./fault.ts";

/** What a {@link FaultDirector} works with. */
export interface FaultDirectorOptions {
  readonly clusters: readonly SimCluster[];
  /** Name of the fleet. */
  readonly name: string;
  readonly size: FleetSize;
  readonly seed: number;
  /** What strikes after the start. */
  readonly script: readonly Fault[];
  readonly logger: Logger;
}

/** A fault that waits or holds. */
export interface StandingFault {
  readonly id: number;
  readonly kind: FaultKind;
  /** "sim-0/node-1/3". */
  readonly target: string;
  readonly state: "waiting" | "holds";
}

interface Standing extends StandingFault {
  state: "waiting" | "holds";
  readonly place: FaultTarget;
  timer?: NodeJS.Timeout;
}

/** Faults of what runs; a link can be cut of a machine that is off. */
const NEEDS_POWER: ReadonlySet<FaultKind> = new Set([
  "gpu-fail",
  "gpu-xid",
  "smi-hang",
  "node-reboot",
]);
/** Most faults that wait or hold at a time. */
const MAX_STANDING = 10_000;

/** Lets faults strike and end: those of the script after the start, others when they are asked for. */
export class FaultDirector implements Part {
  readonly name = "faults";
  readonly #options: FaultDirectorOptions;
  readonly #standing = new Map<number, Standing>();
  #count = 0;

  constructor(options: FaultDirectorOptions) {
    this.#options = options;
  }

  /** Rejects when the script names what the fleet does not have. */
  async start(): Promise<void> {
    for (const fault of this.#options.script) this.#take(fault);
  }

  async stop(): Promise<void> {
    for (const { timer } of this.#standing.values()) clearTimeout(timer);
    this.#standing.clear();
  }

  /** What waits or holds now, in the order it was asked for. */
  list(): readonly StandingFault[] {
    return [...this.#standing.values()].map(({ id, kind, target, state }) => {
      return { id, kind, target, state };
    });
  }

  /**
   * Lets a fault strike, at once or after its time. Throws INVALID_ARGUMENT when the fleet does not have
   * its target, PRECONDITION_FAILED when that is switched off and so cannot fail, OVERLOADED when 10,000 stand
   * already. What finds its target switched off later is left out.
   */
  order(fault: Fault): StandingFault {
    const standing = this.#take(fault);
    const { id, kind, target, state } = standing;
    if (fault.afterMs === 0 && state === "waiting") {
      throw new BerthError("PRECONDITION_FAILED", `${kind} ${target}: the node is switched off`);
    }
    return { id, kind, target, state };
  }

  #take(fault: Fault): Standing {
    if (this.#standing.size >= MAX_STANDING) {
      throw new BerthError("OVERLOADED", `${MAX_STANDING} faults stand already`);
    }
    const { name, size, seed } = this.#options;
    const place = targetOrThrow(() =>
      chooseTarget(fault, { name, size }, { seed, count: this.#count }),
    );
    this.#count += 1;
    const about = { id: this.#count, kind: fault.kind, target: targetText(place, name) };
    const standing: Standing = { ...about, place, state: "waiting" };
    this.#standing.set(standing.id, standing);
    if (fault.afterMs === 0) this.#strike(standing, fault);
    else standing.timer = setTimeout(() => this.#strike(standing, fault), fault.afterMs);
    return standing;
  }

  #strike(standing: Standing, fault: Fault): void {
    const { id, kind, target, place } = standing;
    if (NEEDS_POWER.has(kind) && this.#node(place)?.isOn !== true) {
      this.#options.logger.warn("a simulated fault finds its node off", { fault: kind, target });
      this.#standing.delete(id);
      return;
    }
    this.#options.logger.warn("a simulated fault strikes", { fault: kind, target });
    standing.state = "holds";
    this.#apply(fault, place);
    const { lastsMs } = fault;
    if (lastsMs !== undefined) {
      standing.timer = setTimeout(() => this.#end(standing), lastsMs);
    } else if (kind === "gpu-xid") {
      this.#standing.delete(standing.id);
    }
  }

  #apply(fault: Fault, place: FaultTarget): void {
    const node = this.#node(place);
    if (fault.kind === "link-cut") this.#cluster(place)?.gate.setCut(true);
    else if (fault.kind === "node-partition") node?.setPartitioned(true);
    else if (fault.kind === "smi-hang") node?.setHung(true);
    else if (fault.kind === "gpu-fail") {
      node?.failGpu(place.gpu ?? 0, { logged: fault.lastsMs === undefined });
    } else if (fault.kind === "gpu-xid") node?.xid(place.gpu ?? 0, fault.xid ?? 0);
    else this.#switchOff(place);
  }

  #switchOff(place: FaultTarget): void {
    const node = this.#node(place);
    if (node === undefined) return;
    void this.#carryOut("off", () => node.stop());
    // What failed before is whole again after the boot.
    for (const [id, { kind, place: other, state, timer }] of this.#standing) {
      const isSame = other.cluster === place.cluster && other.node === place.node;
      const heals = kind === "gpu-fail" || kind === "smi-hang";
      if (!isSame || !heals || state !== "holds") continue;
      clearTimeout(timer);
      this.#standing.delete(id);
    }
  }

  #end(standing: Standing): void {
    const { id, kind, target, place } = standing;
    this.#standing.delete(id);
    // Two faults of one kind may hold at once; the later end counts.
    const others = [...this.#standing.values()];
    if (others.some((one) => one.kind === kind && one.target === target && one.state === "holds")) {
      return;
    }
    this.#options.logger.info("a simulated fault ends", { fault: kind, target });
    const node = this.#node(place);
    if (kind === "link-cut") this.#cluster(place)?.gate.setCut(false);
    else if (kind === "node-partition") node?.setPartitioned(false);
    else if (kind === "smi-hang") node?.setHung(false);
    else if (kind === "gpu-fail") node?.restoreGpu(place.gpu ?? 0);
    else if (node !== undefined) void this.#carryOut("on", () => node.powerOn());
  }

  async #carryOut(what: "on" | "off", task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (err) {
      this.#options.logger.error("a simulated node could not be switched", { what, err });
    }
  }

  #cluster(place: FaultTarget): SimCluster | undefined {
    return this.#options.clusters[place.cluster];
  }

  #node(place: FaultTarget): SimNode | undefined {
    return place.node === undefined ? undefined : this.#cluster(place)?.nodes[place.node];
  }
}

function targetOrThrow(choose: () => FaultTarget): FaultTarget {
  try {
    return choose();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", message, { cause });
  }
}
