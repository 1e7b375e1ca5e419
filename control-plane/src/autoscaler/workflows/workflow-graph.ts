import { isJsonObject } from "@berth/service-kit";
import { nearMatches } from "../../policies/near-matches.ts";
import { invalid, pathOf, shown } from "./workflow-body.ts";

/** Modules of one graph and what is before each of them. */
export interface WorkflowGraph {
  /** Every module, in an order in which each comes after those before it. */
  readonly order: readonly string[];
  /** The modules whose edges lead to a module, in `order`. */
  readonly predecessors: ReadonlyMap<string, readonly string[]>;
  /** All modules from which edges lead to a module, over others too, in `order`. */
  readonly ancestors: ReadonlyMap<string, readonly string[]>;
  /** The module whose output is that of the graph. */
  readonly sink: string;
}

/** Where a graph stands in a body, and what it is about. */
export interface GraphFields {
  /** Path of the graph, for messages. */
  readonly field: string;
  readonly value: unknown;
  /** Path of `output`. */
  readonly outputField: string;
  readonly output: unknown;
  /** Keys of the modules that there are. */
  readonly modules: readonly string[];
  /** Those of the graph's own part. */
  readonly own: readonly string[];
}

type Edges = ReadonlyMap<string, readonly string[]>;

/**
 * Reads a graph: lists of the modules that follow each module. Modules that only stand in such lists are part of it.
 * INVALID_ARGUMENT names the field when a module is not there, a cycle, and what to do about several sinks.
 */
export function readGraph(fields: GraphFields): WorkflowGraph {
  const edges = readEdges(fields);
  const order = sorted(edges, fields.field);
  const place = new Map(order.map((module, index) => [module, index]));
  const inOrder = (modules: Iterable<string>): readonly string[] =>
    [...modules].sort((one, other) => (place.get(one) ?? 0) - (place.get(other) ?? 0));
  const before = new Map(order.map((module) => [module, new Set<string>()]));
  for (const module of order) {
    for (const target of edges.get(module) ?? []) before.get(target)?.add(module);
  }
  const ancestors = new Map<string, Set<string>>();
  for (const module of order) {
    const direct = [...(before.get(module) ?? [])];
    const further = direct.flatMap((one) => [...(ancestors.get(one) ?? [])]);
    ancestors.set(module, new Set([...direct, ...further]));
  }
  const sorting = (sets: ReadonlyMap<string, Set<string>>) =>
    new Map([...sets].map(([module, set]) => [module, inOrder(set)]));
  const sinks = order.filter((module) => (edges.get(module) ?? []).length === 0);
  const sink = sinkOf(sinks, fields);
  return { order, predecessors: sorting(before), ancestors: sorting(ancestors), sink };
}

/** " Did you mean …?" for a name that is not there; empty when nothing is near. */
export function didYouMean(name: string, known: readonly string[]): string {
  const near = nearMatches(name, known);
  return near.length === 0 ? "" : ` Did you mean ${near.join(" or ")}?`;
}

/** With every module of the graph as a key, those that are keys first. A single module of its own needs no graph. */
function readEdges({ field, value, modules, own }: GraphFields): Edges {
  const [only = ""] = own;
  const isMissing = value === undefined || (isJsonObject(value) && Object.keys(value).length === 0);
  if (isMissing && own.length === 1) return new Map([[only, []]]);
  if (!isJsonObject(value)) {
    const expected = "an object of lists, one for each module, of the modules that follow it";
    throw invalid(`${field}: expected ${expected}, got ${shown(value)}`);
  }
  const known = new Set(modules);
  const edges = new Map<string, readonly string[]>();
  for (const [key, list] of Object.entries(value)) {
    const path = pathOf(field, key);
    checkKnown(key, known, path);
    edges.set(key, [...new Set(readTargets(list, path, known))]);
  }
  for (const targets of [...edges.values()]) {
    for (const target of targets) if (!edges.has(target)) edges.set(target, []);
  }
  if (edges.size === 0) throw invalid(`${field}: expected at least one module, got none`);
  return edges;
}

function readTargets(list: unknown, path: string, known: ReadonlySet<string>): readonly string[] {
  if (!Array.isArray(list)) throw invalid(`${path}: expected a list, got ${shown(list)}`);
  return list.map((target: unknown, index) => {
    const place = `${path}[${index}]`;
    if (typeof target !== "string") {
      throw invalid(`${place}: expected the name of a module, got ${shown(target)}`);
    }
    checkKnown(target, known, place);
    return target;
  });
}

function checkKnown(name: string, known: ReadonlySet<string>, path: string): void {
  if (known.has(name)) return;
  throw invalid(`${path}: there is no module ${shown(name)}.${didYouMean(name, [...known])}`);
}

/** Takes the modules that wait for nothing, first come first; what is left then is a cycle or behind one. */
function sorted(edges: Edges, field: string): readonly string[] {
  const waitsFor = new Map([...edges.keys()].map((module) => [module, 0]));
  for (const target of [...edges.values()].flat()) {
    waitsFor.set(target, (waitsFor.get(target) ?? 0) + 1);
  }
  const order = [...edges.keys()].filter((module) => waitsFor.get(module) === 0);
  // The list grows while it is walked.
  for (const module of order) {
    for (const target of edges.get(module) ?? []) {
      const left = (waitsFor.get(target) ?? 0) - 1;
      waitsFor.set(target, left);
      if (left === 0) order.push(target);
    }
  }
  if (order.length === edges.size) return order;
  const done = new Set(order);
  const cycle = cycleAmong(edges, (module) => !done.has(module));
  throw invalid(`${field}: expected no cycle, got ${cycle.join(" → ")}`);
}

/** Going back from any module that is left never ends, so it comes to one twice. */
function cycleAmong(edges: Edges, isLeft: (module: string) => boolean): readonly string[] {
  const left = [...edges.keys()].filter(isLeft);
  const walked: string[] = [];
  let module = left[0];
  while (module !== undefined && !walked.includes(module)) {
    walked.push(module);
    const current: string = module;
    module = left.find((other) => edges.get(other)?.includes(current));
  }
  const start = module === undefined ? 0 : walked.indexOf(module);
  const loop = walked.slice(start).reverse();
  return [...loop, ...loop.slice(0, 1)];
}

function sinkOf(sinks: readonly string[], { output, outputField }: GraphFields): string {
  const names = sinks.join(", ");
  if (output === undefined || output === null) {
    const [only] = sinks;
    if (only !== undefined && sinks.length === 1) return only;
    const found = `the graph ends in ${sinks.length}: ${names}`;
    throw invalid(`${outputField}: expected the name of the module whose output counts; ${found}`);
  }
  const named = sinks.find((sink) => sink === output);
  if (named !== undefined) return named;
  throw invalid(
    `${outputField}: expected a module that the graph ends in (${names}), got ${shown(output)}`,
  );
}
