import type { BerthError } from "@berth/service-kit";
import type { WorkflowGraph } from "./workflow-graph.ts";

/** Most modules of one graph that run at a time. */
export const MAX_PARALLEL = 4;

/** How one module of a graph ended. */
export type StepEnd =
  | { readonly kind: "done" }
  | { readonly kind: "skipped"; readonly why: string }
  | { readonly kind: "failed"; readonly error: BerthError };

/** How a graph ended. */
export type GraphEnd =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly module: string; readonly error: BerthError };

/** Runs or skips one module; must not reject. The signal fires when the graph is given up. */
export type RunStep = (module: string, signal: AbortSignal) => Promise<StepEnd>;

interface Ended {
  readonly module: string;
  readonly end: StepEnd;
}

/**
 * Runs the modules of a graph, each once and after all modules before it have ended, at most 4 at a time, the first of
 * the graph's order first. One whose predecessors were all skipped is told so by `skip` and does not run. The first
 * failure ends the graph: nothing is begun after it, what runs is given up and waited for.
 */
export async function runGraph(
  graph: WorkflowGraph,
  { step, skip, signal }: GraphSteps,
): Promise<GraphEnd> {
  const failing = new AbortController();
  const given = AbortSignal.any([signal, failing.signal]);
  const waiting = new Set(graph.order);
  const ended = new Map<string, StepEnd>();
  const running = new Map<string, Promise<Ended>>();
  for (;;) {
    for (const module of waiting) {
      const before = endsBefore(graph, module, ended);
      if (running.size === MAX_PARALLEL || before === undefined) continue;
      waiting.delete(module);
      if (isBehindSkipped(before)) {
        const end: StepEnd = { kind: "skipped", why: "every module before it was skipped" };
        skip(module, end.why);
        // Those behind it come later in the order, so this walk sees them as well.
        ended.set(module, end);
      } else {
        const run = async (): Promise<Ended> => ({ module, end: await step(module, given) });
        running.set(module, run());
      }
    }
    if (running.size === 0) return { kind: "done" };
    const { module, end } = await Promise.race(running.values());
    running.delete(module);
    if (end.kind === "failed") {
      failing.abort();
      await Promise.all(running.values());
      return { kind: "failed", module, error: end.error };
    }
    ended.set(module, end);
  }
}

/** What {@link runGraph} does with the modules. */
export interface GraphSteps {
  readonly step: RunStep;
  /** Notes a module that does not run. */
  readonly skip: (module: string, why: string) => void;
  readonly signal: AbortSignal;
}

/** How the modules before one ended; undefined while one of them has not. */
function endsBefore(
  graph: WorkflowGraph,
  module: string,
  ended: ReadonlyMap<string, StepEnd>,
): readonly StepEnd[] | undefined {
  const before = graph.predecessors.get(module) ?? [];
  const ends = before.flatMap((one) => ended.get(one) ?? []);
  return ends.length === before.length ? ends : undefined;
}

function isBehindSkipped(ends: readonly StepEnd[]): boolean {
  return ends.length > 0 && ends.every(({ kind }) => kind === "skipped");
}
