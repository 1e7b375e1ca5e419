import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import type { Evaluation } from "../autoscaler/evaluation/evaluation-record.ts";
import type { ScaleRequest } from "../autoscaler/scaling/scale-request.ts";
import type { RunModule } from "../autoscaler/workflows/module-attempts.ts";
import { openScaling, type ScalingOptions, type TestScaling } from "./scaling-fixture.ts";

/** What the module of the workflow says: the result, by what it was given. */
export type Deciding = (input: Given, parameters: Record<string, unknown>) => unknown;

/** What modules are given. */
export interface Given {
  readonly metrics: { readonly subjects: { readonly metrics?: Record<string, { load: number }> } };
  readonly quotas: Record<string, unknown>;
  readonly replicas: Record<string, number>;
}

/** A workflow of one module. */
export const WORKFLOW = { workflow_id: "w", modules: { m: { code: "x" } }, graph: { m: [] } };
/** Nothing but what a test asks for stands in the way. */
export const FREE = {
  tolerance: 0,
  scale_up: { rate_policies: [] },
  scale_down: { stabilization_seconds: 0, rate_policies: [] },
};

/** Runs a function as the module. */
export const deciding =
  (decide: Deciding): RunModule =>
  async ({ inputJson, parameters }) => {
    const plain = JSON.parse(JSON.stringify(parameters)) as Record<string, unknown>;
    const result = decide(JSON.parse(inputJson) as Given, plain);
    return { kind: "returned", resultJson: JSON.stringify(result) };
  };

/** An org whose subjects a workflow scales, over a store in memory. */
export class EvaluatedOrg {
  readonly store: DocumentStore = openSqliteDocumentStore(":memory:", systemClock);
  readonly #opened: TestScaling[] = [];

  /** Opens and starts it. */
  async open(options: Partial<ScalingOptions> = {}): Promise<TestScaling> {
    const scaling = await openScaling({ store: this.store, ...options });
    this.#opened.push(scaling);
    return scaling;
  }

  /** An autoscaler with the workflow, and quotas `q-<subject>` of one replica for these subjects. */
  async ready(
    decide: Deciding,
    {
      subjects = ["a"],
      guards = {},
      ...more
    }: Partial<ScalingOptions> & { subjects?: readonly string[]; guards?: object } = {},
  ): Promise<TestScaling> {
    const scaling = await this.open({ runModule: deciding(decide), ...more });
    await scaling.workflows.create(WORKFLOW);
    await scaling.settings.rules.merge({ workflow_id: "w", guards: { ...FREE, ...guards } });
    for (const subject of subjects) {
      const quota = { subject_id: subject, quota_id: `q-${subject}`, replica_count: 1 };
      await scaling.books.quotas.create(quota);
    }
    return scaling;
  }

  async close(): Promise<void> {
    for (const one of this.#opened.splice(0)) await one.stop();
    await this.store.close();
  }
}

/** Replicas that are desired of a subject. */
export function replicasOf({ books }: TestScaling, subject = "a"): number {
  return books.quotas.get(`q-${subject}`).quota.replicas;
}

/** One evaluation. */
export function evaluate({ timer }: TestScaling, isShadow = false): Promise<Evaluation> {
  return timer.evaluateNow(isShadow);
}

/** A request once it is over. */
export async function settled({ scaler }: TestScaling, uuid = ""): Promise<ScaleRequest> {
  const limits = { timeoutMs: 10_000, signal: new AbortController().signal };
  return (await scaler.wait(uuid, limits)).request;
}
