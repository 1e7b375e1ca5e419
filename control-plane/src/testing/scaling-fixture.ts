import {
  type Bus,
  type Clock,
  type DocumentStore,
  openBus,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { type Autoscaler, openAutoscaler } from "../autoscaler/autoscaler.ts";
import type { TakenReport } from "../autoscaler/evaluation/taken-report.ts";
import type { Placer } from "../autoscaler/scaling/placer.ts";
import type { ScaleRequest } from "../autoscaler/scaling/scale-request.ts";
import type { AskedReplicas } from "../autoscaler/scaling/scaling.ts";
import { newest, type Victims } from "../autoscaler/scaling/victims.ts";
import type { RunModule } from "../autoscaler/workflows/module-attempts.ts";
import { type OrgBooks, openOrgBooks } from "../org/org-books.ts";
import type { StateMirror } from "../org/store/state-mirror.ts";
import type { BlockGateway } from "../placement/block-gateway.ts";

/** What {@link openScaling} is told. */
export interface ScalingOptions {
  readonly store: DocumentStore;
  readonly bus?: Bus;
  readonly gateway?: Pick<BlockGateway, "find" | "ask" | "act">;
  readonly allocatorUrl?: string;
  readonly clock?: Clock;
  /** Runs the modules of workflows. */
  readonly runModule?: RunModule;
  /** Data of the newest report. */
  readonly report?: () => TakenReport;
  readonly missingClusters?: () => readonly string[];
  /** Open already. */
  readonly mirror?: StateMirror;
  readonly placer?: Placer;
  readonly victims?: Victims;
}

/** An org that is scaled, over a store; what it is made of outlives its restarts. */
export interface TestScaling extends Autoscaler {
  readonly books: OrgBooks;
  readonly bus: Bus;
  ask(subjectId: string, replicas: number, more?: Partial<AskedReplicas>): Promise<ScaleRequest>;
  /** Asks and waits for the end. */
  scaled(subjectId: string, replicas: number): Promise<ScaleRequest>;
  stop(): Promise<void>;
}

const NO_GATEWAY = {
  find: () => {
    throw new Error("no gateway here");
  },
  ask: () => Promise.reject(new Error("no gateway here")),
  act: () => Promise.reject(new Error("no gateway here")),
};

const NO_REPORT = (): TakenReport => ({ dataJson: '{"subjects":{}}', ageMs: 0 });
const NO_MODULES: RunModule = () => Promise.reject(new Error("no modules here"));
const NO_PLACER: Placer = {
  place: () => Promise.reject(new Error("no allocator here")),
  release: () => Promise.reject(new Error("no allocator here")),
  renew: async () => new Set(),
};
const NEWEST: Victims = { choose: async (replicas, { count }) => newest(replicas, count) };

/** Opens and starts it. */
export async function openScaling(options: ScalingOptions): Promise<TestScaling> {
  const { store, gateway = NO_GATEWAY, allocatorUrl = "" } = options;
  const orgId = "default_org";
  const { clock = systemClock, report = NO_REPORT, runModule = NO_MODULES } = options;
  const logger = silentLogger;
  const books = await openOrgBooks({ store, orgId, clock, mirror: options.mirror, logger });
  const bus = options.bus ?? openBus({ orgId, logger, clock });
  const { victims = NEWEST, placer = NO_PLACER } = options;
  const autoscaler = await openAutoscaler({
    ...{ orgId, store, books, bus, gateway, victims, placer, allocatorUrl, clock, logger },
    moduleChecks: { check: async () => {}, missing: async () => undefined },
    ...{ decisionStore: store, runModule, reports: { take: async () => report() } },
    missingClusters: async () => options.missingClusters?.() ?? [],
  });
  for (const part of autoscaler.parts) await part.start();
  const ask: TestScaling["ask"] = (subjectId, replicas, more = {}) =>
    autoscaler.scaling.request({
      ...{ subjectId, replicas, origin: "adhoc", reason: "test" },
      ...more,
    });
  return {
    ...autoscaler,
    ...{ books, bus, ask },
    async scaled(subjectId, replicas) {
      const asked = { subjectId, replicas, origin: "adhoc", reason: "test" } as const;
      const limits = { timeoutMs: 10_000, signal: new AbortController().signal };
      const end = await autoscaler.scaler.scaleAndWait(asked, limits);
      if (end.kind === "waiting") throw new Error(`still ${end.request.state}`);
      return end.request;
    },
    async stop() {
      for (const part of autoscaler.parts.toReversed()) await part.stop();
      if (options.bus === undefined) await bus.close();
    },
  };
}
