import { isJsonObject, isRawNumber } from "@berth/service-kit";
import { type Body, invalid, pathOf, readBody, shown } from "./workflow-body.ts";
import { readGraph, type WorkflowGraph } from "./workflow-graph.ts";
import {
  checkName,
  readModule,
  readObject,
  unknownKeys,
  type WorkflowModule,
} from "./workflow-module.ts";

/** A workflow of either form, checked: it can run as it stands. */
export interface Workflow {
  /** Empty when neither the body nor its reader named it. */
  readonly id: string;
  readonly name: string;
  /** "1.0-stable", "1.0", or empty. */
  readonly version: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly globalSettings: Body;
  readonly globalParameters: Body;
  /** Those of both graphs, and those that no graph names. */
  readonly modules: ReadonlyMap<string, WorkflowModule>;
  /** Decides whether the decision graph runs. */
  readonly checker: WorkflowGraph | undefined;
  readonly graph: WorkflowGraph;
  /** What is odd about it but no error. */
  readonly warnings: readonly string[];
}

/** Most modules of a workflow, those of the checker among them. */
export const MAX_MODULES = 64;
const MAX_TEXT = 10_000;
const MAX_TAGS = 64;

const SHARED_FIELDS = ["workflow_id", "checker", "output"];
const REGISTRY_FIELDS: readonly string[] = [
  ...SHARED_FIELDS,
  ...["name", "version", "description", "tags"],
  ...["globalSettings", "globalParameters", "modules", "graph"],
];
const ORG_FIELDS: readonly string[] = [
  ...SHARED_FIELDS,
  ...["workflow_metadata", "workflow_default_params"],
  ...["workflow_search_tags", "workflow_description"],
];
const METADATA_FIELDS: readonly string[] = ["name", "version", "graph", "modules"];
const CHECKER_FIELDS: readonly string[] = ["modules", "graph", "output"];

/** The parts of a body, wherever its form has them, with the paths that messages name. */
interface Parts {
  readonly body: Body;
  /** Holds name, version, graph and modules. */
  readonly main: Body;
  /** Holds globalSettings and globalParameters. */
  readonly globals: Body;
  readonly mainPath: string;
  readonly globalsPath: string;
  readonly descriptionField: string;
  readonly tagsField: string;
  readonly warnings: readonly string[];
}

/**
 * Reads a workflow in the registry's form or that of the org, as a value or as JSON or YAML text, and checks all of it.
 * `knownId` is its id where the body has none. INVALID_ARGUMENT begins with the path of the field; the message says
 * what was expected and what was found.
 */
export function readWorkflow(given: unknown, knownId = ""): Workflow {
  const body = readBody(given);
  const parts = partsOf(body);
  const { main, mainPath, globals, globalsPath, descriptionField, tagsField } = parts;
  const checker = readChecker(body);
  const modulesField = pathOf(mainPath, "modules");
  const read = readModules([
    { value: main.modules, field: modulesField },
    { value: checker?.modules, field: "checker.modules" },
  ]);
  const graphs = readGraphs(parts, checker, [...read.modules.keys()]);
  checkConditions(read.modules, graphs);
  const named = new Set([...(graphs.checker?.order ?? []), ...graphs.graph.order]);
  const unused = [...read.modules.keys()].filter((module) => !named.has(module));
  const global = (key: string) => readObject(globals[key], pathOf(globalsPath, key));
  return {
    id: readId(body.workflow_id, knownId),
    name: readText(main.name, pathOf(mainPath, "name")),
    version: readVersion(main.version, pathOf(mainPath, "version")),
    description: readText(body[descriptionField], descriptionField),
    tags: readTags(body[tagsField], tagsField),
    globalSettings: global("globalSettings"),
    globalParameters: global("globalParameters"),
    ...{ modules: read.modules, ...graphs },
    warnings: [
      ...parts.warnings,
      ...(checker === undefined ? [] : unknownKeys(checker, CHECKER_FIELDS, "checker")),
      ...read.warnings,
      ...unused.map((module) => `${pathOf("modules", module)}: no graph names it; it is not run`),
    ],
  };
}

function partsOf(body: Body): Parts {
  if (body.workflow_metadata === undefined) {
    return {
      ...{ body, main: body, globals: body, mainPath: "", globalsPath: "" },
      ...{ descriptionField: "description", tagsField: "tags" },
      warnings: unknownKeys(body, REGISTRY_FIELDS, ""),
    };
  }
  for (const field of ["graph", "modules", "globalSettings", "globalParameters"]) {
    if (body[field] === undefined) continue;
    const form = "the form with workflow_metadata has it elsewhere";
    throw invalid(`${field}: ${form}; expected one form, got both`);
  }
  const main = readObject(body.workflow_metadata, "workflow_metadata");
  return {
    ...{ body, main, mainPath: "workflow_metadata" },
    globals: readObject(body.workflow_default_params, "workflow_default_params"),
    globalsPath: "workflow_default_params",
    ...{ descriptionField: "workflow_description", tagsField: "workflow_search_tags" },
    warnings: [
      ...unknownKeys(body, ORG_FIELDS, ""),
      ...unknownKeys(main, METADATA_FIELDS, "workflow_metadata"),
    ],
  };
}

function readChecker({ checker }: Body): Body | undefined {
  return checker === undefined || checker === null ? undefined : readObject(checker, "checker");
}

function readModules(
  groups: readonly { readonly value: unknown; readonly field: string }[],
): Pick<Workflow, "modules" | "warnings"> {
  const modules = new Map<string, WorkflowModule>();
  const warnings: string[] = [];
  for (const { value, field } of groups) {
    for (const [key, one] of Object.entries(readObject(value, field))) {
      const path = pathOf(field, key);
      checkName(key, path);
      if (modules.has(key)) throw invalid(`${path}: expected a name that "modules" does not have`);
      if (modules.size === MAX_MODULES) {
        throw invalid(`${field}: expected at most ${MAX_MODULES} modules`);
      }
      const read = readModule(one, path);
      modules.set(key, read.module);
      warnings.push(...read.warnings);
    }
  }
  return { modules, warnings };
}

function readGraphs(
  { body, main, mainPath }: Parts,
  checker: Body | undefined,
  modules: readonly string[],
): Pick<Workflow, "checker" | "graph"> {
  const field = pathOf(mainPath, "graph");
  const graph = readGraph({
    ...{ field, value: main.graph, outputField: "output", output: body.output, modules },
    own: keysOf(main.modules),
  });
  if (checker === undefined) return { checker, graph };
  const first = readGraph({
    ...{ field: "checker.graph", value: checker.graph, modules, own: keysOf(checker.modules) },
    ...{ outputField: "checker.output", output: checker.output },
  });
  const both = graph.order.find((module) => first.order.includes(module));
  if (both === undefined) return { checker: first, graph };
  const advice = "its output is in previous_outputs; expected it in one graph only";
  throw invalid(`${pathOf(field, both)}: the checker runs it already, and ${advice}`);
}

function keysOf(value: unknown): readonly string[] {
  return isJsonObject(value) ? Object.keys(value) : [];
}

/** A condition on what may not have run yet would hold or not as it happens. */
function checkConditions(
  modules: ReadonlyMap<string, WorkflowModule>,
  { checker, graph }: Pick<Workflow, "checker" | "graph">,
): void {
  const checked = checker?.order ?? [];
  for (const [key, { when }] of modules) {
    const before = checker?.ancestors.get(key) ?? [...checked, ...(graph.ancestors.get(key) ?? [])];
    const isRun = graph.ancestors.has(key) || checker?.ancestors.has(key) === true;
    const stranger = when.find(({ output }) => !before.includes(output));
    if (!isRun || stranger === undefined) continue;
    const known = before.length === 0 ? "there is none" : before.join(", ");
    const found = shown(stranger.output);
    throw invalid(
      `modules.${key}.when: expected the output of a module before it (${known}), got ${found}`,
    );
  }
}

function readId(value: unknown, knownId: string): string {
  if (value === undefined || value === null || value === "") return knownId;
  const id = checkName(value, "workflow_id");
  if (knownId === "" || knownId === id) return id;
  throw invalid(`workflow_id: a workflow keeps its id, ${shown(knownId)}, got ${shown(id)}`);
}

function readText(value: unknown, field: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string" && value.length <= MAX_TEXT) return value;
  throw invalid(`${field}: expected text of up to ${MAX_TEXT} characters, got ${shown(value)}`);
}

/** Text, a number (YAML has `1.0`), or the registry's `{"version", "releaseTag"}`. */
function readVersion(value: unknown, field: string): string {
  if (isRawNumber(value)) return value.rawJSON;
  if (typeof value === "number") return String(value);
  if (!isJsonObject(value)) return readText(value, field);
  const version = readVersion(value.version, `${field}.version`);
  const tag = readText(value.releaseTag, `${field}.releaseTag`);
  return [version, tag].filter((part) => part !== "").join("-");
}

function readTags(value: unknown, field: string): readonly string[] {
  if (value === undefined || value === null) return [];
  if (typeof value === "string") return [readText(value, field)];
  if (!Array.isArray(value) || value.length > MAX_TAGS) {
    throw invalid(`${field}: expected a list of up to ${MAX_TAGS} texts, got ${shown(value)}`);
  }
  return value.map((tag: unknown, index) => {
    if (typeof tag !== "string") {
      throw invalid(`${field}[${index}]: expected text, got ${shown(tag)}`);
    }
    return readText(tag, `${field}[${index}]`);
  });
}
