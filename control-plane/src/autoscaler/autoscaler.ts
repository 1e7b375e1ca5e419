import {
  BerthError,
  type Bus,
  type Clock,
  type DocumentStore,
  type Logger,
  type Part,
} from "@berth/service-kit";
import type { OrgBooks } from "../org/org-books.ts";
import { profileOf } from "../org/profiles/quota-owners.ts";
import { KeptDocuments } from "../org/store/kept-documents.ts";
import type { BlockGateway } from "../placement/block-gateway.ts";
import { Backtest } from "./backtest/backtest.ts";
import { EvaluationLog } from "./evaluation/evaluation-log.ts";
import { EvaluationTimer } from "./evaluation/evaluation-timer.ts";
import { Evaluator } from "./evaluation/evaluator.ts";
import { GuardHistories } from "./evaluation/guard-histories.ts";
import type { ReportSource } from "./evaluation/taken-report.ts";
import { type Applier, plainApplier } from "./scaling/applier.ts";
import { approvalListener } from "./scaling/approvals.ts";
import { blockApplier } from "./scaling/block-applier.ts";
import { confirmationListener } from "./scaling/confirmations.ts";
import { Dispatcher } from "./scaling/dispatcher.ts";
import { externalApplier } from "./scaling/external-applier.ts";
import { Fulfilment } from "./scaling/fulfilment.ts";
import { Outbox } from "./scaling/outbox.ts";
import { placeApplier, placesReplicas } from "./scaling/place-applier.ts";
import { PlaceKeeper } from "./scaling/place-keeper.ts";
import type { Placer } from "./scaling/placer.ts";
import { ReplicaPlaces } from "./scaling/replica-places.ts";
import { openQuotaOf, ScaleBook } from "./scaling/scale-book.ts";
import { ScaleListeners } from "./scaling/scale-listeners.ts";
import { type BusText, confirmationSubject } from "./scaling/scale-messages.ts";
import type { ScaleRequest } from "./scaling/scale-request.ts";
import { Scaler } from "./scaling/scaler.ts";
import { Scaling } from "./scaling/scaling.ts";
import type { Victims } from "./scaling/victims.ts";
import { guardsOf } from "./settings/autoscale-rules.ts";
import { type AutoscaleSettings, openAutoscaleSettings } from "./settings/autoscale-settings.ts";
import type { SettingVersion } from "./settings/versioned-setting.ts";
import type { RunModule } from "./workflows/module-attempts.ts";
import type { ModuleChecks } from "./workflows/module-checks.ts";
import { WorkflowBook } from "./workflows/workflow-book.ts";
import { WorkflowRunner } from "./workflows/workflow-runner.ts";

/** What {@link openAutoscaler} needs. */
export interface AutoscalerDeps {
  readonly orgId: string;
  readonly store: DocumentStore;
  /** Keeps what was decided, which may lose its newest in a power cut. */
  readonly decisionStore: DocumentStore;
  readonly books: OrgBooks;
  readonly bus: Bus;
  readonly gateway: Pick<BlockGateway, "find" | "ask" | "act">;
  readonly victims: Victims;
  readonly placer: Placer;
  /** Of an allocator of the org's own; empty: Berth applies requests itself. */
  readonly allocatorUrl: string;
  /** Runs the modules of workflows. */
  readonly runModule: RunModule;
  /** Looks at them when a workflow is written or shown. */
  readonly moduleChecks: ModuleChecks;
  readonly reports: ReportSource;
  readonly missingClusters: () => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What scales the subjects of an org. */
export interface Autoscaler {
  readonly scale: ScaleBook;
  readonly scaling: Scaling;
  readonly listeners: ScaleListeners;
  readonly scaler: Scaler;
  readonly settings: AutoscaleSettings;
  readonly workflows: WorkflowBook;
  readonly timer: EvaluationTimer;
  readonly log: EvaluationLog;
  readonly backtest: Backtest;
  /**
   * Says on the bus what became of a request, as its allocator would; resolves when the bus has it. PRECONDITION_FAILED where Berth applies
   * requests itself.
   */
  readonly confirm: (uuid: string, response: Readonly<Record<string, unknown>>) => Promise<void>;
  /** To be started in this order: the listener hears before anything is sent. */
  readonly parts: readonly Part[];
}

const NO_ALLOCATOR =
  "Berth applies requests itself, and confirms them: BERTH_SUBJECT_ALLOCATOR_URL is not set";

/** Opens what the store knows of workflows, settings and requests to scale. */
export async function openAutoscaler(deps: AutoscalerDeps): Promise<Autoscaler> {
  const { orgId, books, bus, clock, logger } = deps;
  const { transactions } = books;
  const external = deps.allocatorUrl === "" ? undefined : externalApplier(deps.allocatorUrl);
  const isExternal = external !== undefined;
  const { scale, settings, settingDocuments, workflows, histories } =
    await openAutoscalerBooks(deps);
  const listeners = new ScaleListeners();
  const scaling = new Scaling({
    ...{ orgId, books, scale, listeners, clock },
    reasonAgainst: (subjectId) => reasonAgainst(subjectId, { settings, workflows }),
  });
  const fulfilment = new Fulfilment({
    ...{ orgId, books, scale, listeners, clock, isExternal },
    onChanged: (plan, { origin, quotaId, subjectId }, change) => {
      if (origin !== "autoscaler") return;
      histories.note(plan, quotaId, change, guardsOf(settings.rules.current.value, subjectId));
    },
  });
  const scaler = new Scaler({ scaling, scale, listeners });
  books.quotas.keepWhile((quotaId) => reasonToKeep(scale.open(quotaId)));
  const places = new ReplicaPlaces(transactions, scale);
  const keeper = new PlaceKeeper({
    ...{ scale, places, quotas: books.quotas, placer: deps.placer, logger },
    isPlaced: (quota) => !isExternal && placesReplicas(profileOf(quota)),
  });
  books.quotas.accompany((plan, change) => keeper.follow(plan, change));
  const dispatcher = new Dispatcher({
    ...{ orgId, fulfilment, listeners, scale, clock, logger },
    applierOf:
      external === undefined ? (request) => applierOf(request, places, deps) : () => external,
  });
  const log = new EvaluationLog({ store: deps.decisionStore, orgId, clock, logger });
  await log.load();
  const runner = new WorkflowRunner({ runModule: deps.runModule, clock });
  const evaluator = new Evaluator({
    ...deps,
    ...{ scale, scaling, settings, workflows, runner, histories, log },
  });
  const timer = new EvaluationTimer({
    ...{ evaluator, clock },
    intervalSeconds: () => settings.interval.current.value,
    lastAgeMs: () => lastAgeMs(log, clock),
    onChange: (listener) => settingDocuments.onChange(listener),
  });
  const parts = [
    confirmationListener({ orgId, bus, fulfilment, logger }),
    new Outbox({ scale, transactions, bus, logger }),
    dispatcher,
    keeper,
    approvalListener({ orgId, bus, scaling, clock, logger }),
    { name: "evaluation log", start: async () => {}, stop: () => log.settled() },
    timer,
  ];
  const backtest = new Backtest(runner);
  const confirm = confirmer({ orgId, bus, isExternal });
  return {
    ...{
      scale,
      scaling,
      listeners,
      scaler,
      settings,
      workflows,
      timer,
      log,
      backtest,
      confirm,
      parts,
    },
  };
}

/** Says on the bus what became of a request, as its allocator would. */
function confirmer({
  orgId,
  bus,
  isExternal,
}: Pick<AutoscalerDeps, "orgId" | "bus"> & {
  readonly isExternal: boolean;
}): Autoscaler["confirm"] {
  return async (uuid, response) => {
    if (!isExternal) throw new BerthError("PRECONDITION_FAILED", NO_ALLOCATOR);
    const text = JSON.stringify({ uuid, response });
    await bus.publish({ subject: confirmationSubject(orgId), text });
  };
}

/** Why nothing comes of what the autoscaler wants for a subject; undefined: nothing is against it. */
function reasonAgainst(
  subjectId: string,
  { settings, workflows }: Pick<Autoscaler, "settings" | "workflows">,
): string | undefined {
  const rules = settings.rules.current.value;
  const { isPaused, isShadow } = guardsOf(rules, subjectId);
  if (isPaused) return "it is paused";
  if (isShadow) return "it is in shadow mode";
  const { workflowId } = rules;
  if (workflowId === undefined) return "no workflow is set";
  const name = JSON.stringify(workflowId.slice(0, 100));
  return workflows.find(workflowId) === undefined ? `there is no workflow ${name}` : undefined;
}

/** Why a quota cannot be removed now; undefined when nothing of it is under way. */
function reasonToKeep([open]: readonly ScaleRequest[]): string | undefined {
  return open && `has a request under way: ${open.uuid} is ${open.state}`;
}

/** Time since the last evaluation that counted, ms; undefined when there was none. */
function lastAgeMs(log: Pick<EvaluationLog, "list">, clock: Clock): number | undefined {
  const last = log.list().find(({ shadow }) => !shadow);
  if (last === undefined) return undefined;
  return Date.parse(clock.timestamp()) - Date.parse(last.started_at);
}

/** What is written down of the autoscaler, read, and written together with the books of the org. */
async function openAutoscalerBooks({
  store,
  orgId,
  books,
  moduleChecks: checks,
  clock,
}: AutoscalerDeps) {
  const { transactions } = books;
  const documents = <T>(collection: string) => new KeptDocuments<T>({ store, orgId, collection });
  const scale = new ScaleBook({
    requests: new KeptDocuments<ScaleRequest>({
      ...{ store, orgId, collection: "scale_requests", groupOf: openQuotaOf },
    }),
    quotas: documents("scaled_quotas"),
    outbox: documents<BusText>("outbox"),
  });
  const settingDocuments = documents<SettingVersion>("autoscale_settings");
  const settings = openAutoscaleSettings({ documents: settingDocuments, transactions, clock });
  const workflows = new WorkflowBook({
    ...{ documents: documents("workflows"), transactions, checks, clock },
  });
  const histories = new GuardHistories(documents("guard_histories"));
  for (const book of [scale, settings, workflows, histories]) {
    transactions.add(book);
    await book.reload();
  }
  return { scale, settings, settingDocuments, workflows, histories };
}

function applierOf(
  { quotaId }: ScaleRequest,
  places: ReplicaPlaces,
  { books, gateway, victims, placer }: AutoscalerDeps,
): Applier {
  const profile = profileOf(books.quotas.planned(quotaId).quota);
  if (placesReplicas(profile)) return placeApplier(profile, { placer, places, victims });
  return profile.blockId === undefined ? plainApplier : blockApplier(profile, { gateway, victims });
}
