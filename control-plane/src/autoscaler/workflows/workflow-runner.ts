import type { HostClient } from "@berth/policy-sandbox";
import {
  BerthError,
  type Clock,
  isJsonObject,
  parseLossless,
  sleep,
  withMember,
} from "@berth/service-kit";
import { type Condition, holds, isTruthy } from "./condition.ts";
import { type GraphEnd, runGraph, type StepEnd } from "./graph-run.ts";
import {
  type AttemptDeps,
  canceled,
  type RunModule,
  runAttempts,
  type TrialContexts,
} from "./module-attempts.ts";
import type { Workflow } from "./workflow.ts";
import type { Body } from "./workflow-body.ts";
import type { WorkflowGraph } from "./workflow-graph.ts";
import type { WorkflowModule } from "./workflow-module.ts";

/** What is known of one module of a run. */
export interface ModuleFacts {
  readonly module: string;
  /** From the first attempt to the end of the last one, pauses included. */
  readonly ms: number;
  /** 0 of one that was skipped. */
  readonly attempts: number;
  /** Why it was skipped; undefined when it ran. */
  readonly skipped: string | undefined;
  /** Whether its output is its `fallback`. */
  readonly fellBack: boolean;
}

/** How a run ended. `facts` are of the modules that ran or were skipped, in the order in which they ended. */
export type WorkflowOutcome =
  | {
      readonly kind: "done";
      /** Of the module that the decision graph ends in; null when that was skipped. */
      readonly output: unknown;
      /** Of all modules that ran, by module, in the order of the graphs; the checker's first. */
      readonly outputs: Body;
      readonly facts: readonly ModuleFacts[];
    }
  /** The checker decided that nothing is to be decided. */
  | {
      readonly kind: "skipped";
      readonly reason: string;
      readonly outputs: Body;
      readonly facts: readonly ModuleFacts[];
    }
  | {
      readonly kind: "failed";
      /** The module that failed first; undefined when none had begun. */
      readonly module: string | undefined;
      readonly error: BerthError;
      readonly facts: readonly ModuleFacts[];
    };

/** What one run is given beside the workflow and its input. */
export interface WorkflowRunOptions {
  /** Gives the run up: it ends with CANCELED. */
  readonly signal: AbortSignal;
  /** The caller's, over those of the workflow and over the parameters of each module. */
  readonly globalParameters?: Body;
  /** What the modules find in their settings and can call. */
  readonly clients?: Readonly<Record<string, HostClient>>;
  /** Absent: policies keep what they keep as everywhere. */
  readonly trial?: TrialContexts;
}

/** What {@link WorkflowRunner} needs. */
export interface WorkflowRunnerDeps {
  readonly runModule: RunModule;
  readonly clock: Pick<Clock, "nowMs">;
  /** How it waits; by timers when absent. */
  readonly deadline?: AttemptDeps["deadline"];
  readonly pause?: AttemptDeps["pause"];
}

/** Runs workflows. It keeps nothing between runs; runs beside each other know nothing of each other. */
export class WorkflowRunner {
  readonly #deps: AttemptDeps & Pick<WorkflowRunnerDeps, "clock">;

  constructor(deps: WorkflowRunnerDeps) {
    this.#deps = { deadline: (ms) => AbortSignal.timeout(ms), pause: sleep, ...deps };
  }

  /**
   * Runs the checker, where there is one, and the decision graph unless the checker says otherwise. Each module gets the
   * input, a JSON object as text, with `previous_outputs`: the outputs of the modules that are before it in its graph, and of the checker's.
   * (The reference gives those of all modules that happened to run earlier; here they do not depend on timing.) Outputs
   * keep numbers as they were written. What goes wrong is an outcome.
   */
  async run(
    workflow: Workflow,
    inputJson: string,
    options: WorkflowRunOptions,
  ): Promise<WorkflowOutcome> {
    const run = new OneRun(workflow, { ...this.#deps, options, inputJson });
    return run.result();
  }
}

interface OneRunDeps extends AttemptDeps {
  readonly clock: Pick<Clock, "nowMs">;
  readonly options: WorkflowRunOptions;
  readonly inputJson: string;
}

/** One run and what has come of it so far. */
class OneRun {
  readonly #workflow: Workflow;
  readonly #deps: OneRunDeps;
  readonly #facts: ModuleFacts[] = [];
  /** JSON text by module. */
  readonly #texts = new Map<string, string>();
  readonly #outputs = new Map<string, unknown>();

  constructor(workflow: Workflow, deps: OneRunDeps) {
    this.#workflow = workflow;
    this.#deps = deps;
  }

  async result(): Promise<WorkflowOutcome> {
    const { checker, graph } = this.#workflow;
    const facts = this.#facts;
    if (this.#deps.options.signal.aborted) {
      return { kind: "failed", module: undefined, error: canceled(), facts };
    }
    if (checker !== undefined) {
      const checked = await this.#runGraph(checker, []);
      if (checked.kind === "failed") return { ...checked, facts };
      const reason = reasonToSkip(checker.sink, this.#outputs);
      if (reason !== undefined) return { kind: "skipped", reason, outputs: this.#all(), facts };
    }
    const decided = await this.#runGraph(graph, checker?.order ?? []);
    if (decided.kind === "failed") return { ...decided, facts };
    const output = this.#outputs.get(graph.sink) ?? null;
    return { kind: "done", output, outputs: this.#all(), facts };
  }

  #runGraph(graph: WorkflowGraph, earlier: readonly string[]): Promise<GraphEnd> {
    return runGraph(graph, {
      step: (module, signal) => {
        const before = [...earlier, ...(graph.ancestors.get(module) ?? [])];
        return this.#step(module, before, signal);
      },
      skip: (module, why) => this.#note(module, { skipped: why }),
      signal: this.#deps.options.signal,
    });
  }

  async #step(key: string, before: readonly string[], signal: AbortSignal): Promise<StepEnd> {
    const module = this.#workflow.modules.get(key);
    if (module === undefined) {
      // The reader has checked it.
      return failed(new BerthError("INTERNAL", `module ${key} is missing`));
    }
    const unmet = module.when.find((condition) => !holds(condition, this.#outputs));
    if (unmet !== undefined) {
      const why = `its condition on ${placeOf(unmet)} does not hold`;
      this.#note(key, { skipped: why });
      return { kind: "skipped", why };
    }
    const { clock, options, inputJson } = this.#deps;
    const startedMs = clock.nowMs();
    const outcome = await runAttempts(
      module,
      {
        ...{ workflowId: this.#workflow.id, module: key, code: module.code },
        ...givenTo(module, this.#workflow, options.globalParameters ?? {}),
        inputJson: withMember(inputJson, "previous_outputs", this.#textOf(before)),
        ...{ clients: options.clients ?? {}, trial: options.trial, signal },
      },
      this.#deps,
    );
    const { attempts } = outcome;
    const fellBack = outcome.kind === "returned" && outcome.fellBack;
    this.#note(key, { ms: clock.nowMs() - startedMs, attempts, fellBack });
    return outcome.kind === "failed" ? failed(outcome.error) : this.#take(key, outcome.resultJson);
  }

  #take(key: string, resultJson: string): StepEnd {
    try {
      this.#outputs.set(key, parseLossless(resultJson));
      this.#texts.set(key, resultJson);
      return { kind: "done" };
    } catch (cause) {
      const message = `module ${key} returned what is no JSON`;
      return failed(new BerthError("POLICY_FAILED", message, { cause }));
    }
  }

  #note(module: string, known: Partial<ModuleFacts>): void {
    const none = { ms: 0, attempts: 0, skipped: undefined, fellBack: false };
    this.#facts.push({ module, ...none, ...known });
  }

  /** The outputs of these modules as one JSON object, without those that were skipped. */
  #textOf(modules: readonly string[]): string {
    const members = modules.flatMap((module) => {
      const text = this.#texts.get(module);
      return text === undefined ? [] : [`${JSON.stringify(module)}:${text}`];
    });
    return `{${members.join(",")}}`;
  }

  #all(): Body {
    const { checker, graph } = this.#workflow;
    const order = [...(checker?.order ?? []), ...graph.order];
    const there = order.filter((module) => this.#outputs.has(module));
    return Object.fromEntries(there.map((module) => [module, this.#outputs.get(module)]));
  }
}

/** What a module is constructed with: the caller's parameters win over its own, its own over those of the workflow. */
function givenTo(
  module: WorkflowModule,
  workflow: Workflow,
  config: Body,
): { readonly settings: Body; readonly parameters: Body } {
  const { globalSettings } = workflow;
  const globalParameters = { ...workflow.globalParameters, ...config };
  const own = { ...workflow.globalParameters, ...module.parameters, ...config };
  return {
    settings: { ...globalSettings, ...module.settings, globalSettings },
    parameters: { ...own, globalParameters },
  };
}

/** Why the decision graph does not run; undefined when it does. */
function reasonToSkip(sink: string, outputs: ReadonlyMap<string, unknown>): string | undefined {
  if (!outputs.has(sink)) return `the checker's ${sink} was skipped`;
  const result = outputs.get(sink);
  if (!isTruthy(result)) return `the checker's ${sink} returned ${JSON.stringify(result)}`;
  if (!isJsonObject(result)) return undefined;
  const said = result.skip === true ? "skip: true" : "scale: false";
  if (result.skip !== true && result.scale !== false) return undefined;
  const { reason } = result;
  return typeof reason === "string" && reason !== ""
    ? reason.slice(0, MAX_REASON_CHARACTERS)
    : `the checker's ${sink} returned ${said}`;
}

const MAX_REASON_CHARACTERS = 1_000;

function placeOf({ output, path, op }: Condition): string {
  return `${[output, ...path].join(".")} (${op})`;
}

function failed(error: BerthError): StepEnd {
  return { kind: "failed", error };
}
