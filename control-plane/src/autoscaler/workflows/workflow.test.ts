import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { readWorkflow } from "./workflow.ts";

const CODE = "class AgentSpaceV1PolicyRule: ...";
const module = { code: CODE };

/** A body with a module for each name and this graph. */
function body(graph: unknown, names: string, more: object = {}) {
  const modules = Object.fromEntries([...names].map((name) => [name, module]));
  return { modules, graph, ...more };
}

const problemOf = (given: unknown): string => {
  try {
    readWorkflow(given);
  } catch (thrown) {
    expect(thrown).toMatchObject({ reason: "INVALID_ARGUMENT" });
    return thrown instanceof Error ? thrown.message : "";
  }
  throw new Error("the workflow was taken");
};

const REGISTRY = {
  ...{ workflow_id: "autoscale-v1", name: "Autoscale", description: "d", tags: ["autoscale"] },
  version: { version: "1.0", releaseTag: "stable" },
  ...{ globalSettings: { timezone: "UTC" }, globalParameters: { threshold: 0.8 } },
  modules: {
    check: { codePath: "checks:1.0-stable", settings: { s: 1 }, parameters: { p: 2 } },
    decide: { code: { python: CODE }, timeout_seconds: 2.5, retries: 2, fallback: {} },
  },
  graph: { check: ["decide"], decide: [] },
};

describe("a workflow", () => {
  it("is read in the registry's form", () => {
    const workflow = readWorkflow(REGISTRY);
    expect(workflow).toMatchObject({
      ...{ id: "autoscale-v1", name: "Autoscale", version: "1.0-stable", description: "d" },
      ...{ tags: ["autoscale"], globalSettings: { timezone: "UTC" } },
      ...{ globalParameters: { threshold: 0.8 }, checker: undefined, warnings: [] },
    });
    expect(Object.fromEntries(workflow.modules)).toEqual({
      check: {
        code: { kind: "policy", uri: "checks:1.0-stable" },
        ...{ settings: { s: 1 }, parameters: { p: 2 }, timeoutMs: 30_000, retries: 0 },
        ...{ fallback: undefined, when: [] },
      },
      decide: {
        code: { kind: "inline", python: CODE },
        ...{ settings: {}, parameters: {}, timeoutMs: 2_500, retries: 2, fallback: {}, when: [] },
      },
    });
    expect(workflow.graph.order).toEqual(["check", "decide"]);
    expect(workflow.graph.sink).toBe("decide");
  });

  it("means the same in the form of the org", () => {
    const { name, version, graph, modules, globalSettings, globalParameters } = REGISTRY;
    const org = {
      ...{ workflow_id: "autoscale-v1", workflow_description: "d" },
      ...{ workflow_search_tags: ["autoscale"] },
      workflow_metadata: { name, version, graph, modules },
      workflow_default_params: { globalSettings, globalParameters },
    };
    expect(readWorkflow(org)).toEqual(readWorkflow(REGISTRY));
    expect(problemOf({ ...org, graph })).toMatch(/^graph: .* expected one form, got both$/);
    const broken = { ...org, workflow_metadata: { modules, graph: { check: ["dcide"] } } };
    expect(problemOf(broken)).toMatch(/^workflow_metadata\.graph\.check\[0\]: .*mean decide\?$/);
  });

  it("may say a number once and mean it again, in YAML", () => {
    const lines = ["globalParameters: {low: &low 10.0, also: *low}", "modules: {m: {code: x}}"];
    const { globalParameters } = readWorkflow([...lines, "graph: {m: []}"].join("\n"));
    expect(JSON.stringify(globalParameters)).toBe('{"low":10.0,"also":10.0}');
  });

  it("means the same as JSON and as YAML text, and keeps its numbers", () => {
    expect(readWorkflow(JSON.stringify(REGISTRY))).toEqual(readWorkflow(REGISTRY));
    const yaml = [
      ...["version: 1.0", "modules:", "  a:", "    parameters: {x: 10.0, big: 9007199254740993}"],
      ...["    code: |", "      class A:", "        pass", "graph: {a: []}"],
    ].join("\n");
    const workflow = readWorkflow(yaml);
    const read = workflow.modules.get("a");
    expect(workflow.version).toBe("1.0");
    expect(JSON.stringify(read?.parameters)).toBe('{"x":10.0,"big":9007199254740993}');
    expect(read?.code).toEqual({ kind: "inline", python: "class A:\n  pass\n" });
    expect(problemOf("a: [")).toMatch(/^the workflow: is neither JSON nor YAML: /);
    expect(problemOf("just text")).toBe("the workflow: expected an object, got string");
    expect(problemOf(`a: ${"[".repeat(20_000)}`)).toMatch(/^the workflow: /);
    expect(problemOf("a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: .nan")).toMatch(
      /^d: expected a n/,
    );
  });
});

describe("the graphs of the reference's table", () => {
  it.each([[undefined], [{}]])("a single module needs none: %j", (graph) => {
    const given = (names: string) => JSON.parse(JSON.stringify(body(graph, names)));
    expect(readWorkflow(given("a")).graph).toMatchObject({ order: ["a"], sink: "a" });
    expect(problemOf(given("ab"))).toMatch(/^graph: expected/);
  });

  it.each([
    ["a chain", { a: ["b"], b: [] }, "ab", ["a", "b"], "b"],
    ["a sink that is no key", { a: ["b"] }, "ab", ["a", "b"], "b"],
    ["one module alone", { a: [] }, "a", ["a"], "a"],
    ["a diamond", { a: ["b", "c"], b: ["d"], c: ["d"], d: [] }, "abcd", [..."abcd"], "d"],
  ])("%s runs", (_, graph, names, order, sink) => {
    expect(readWorkflow(body(graph, names)).graph).toMatchObject({ order, sink });
  });

  it.each([
    [
      "two that end, none named",
      { a: ["b"], b: [], c: [] },
      "abc",
      /^output: .*ends in 2: c, b|b, c$/,
    ],
    ["a target that is no module", { a: ["zz"] }, "a", /^graph\.a\[0\]: there is no module "zz"/],
    ["a key that is no module", { q: ["a"], a: [] }, "a", /^graph\.q: there is no module "q"/],
    [
      "a cycle",
      { a: ["b"], b: ["a"] },
      "ab",
      /^graph: expected no cycle, got (a → b → a|b → a → b)$/,
    ],
    ["a cycle of one", { a: ["a"] }, "a", /got a → a$/],
    ["nothing", {}, "", /^graph: expected at least one module, got none$/],
  ])("%s is refused", (_, graph, names, message) => {
    expect(problemOf(body(graph, names))).toMatch(message);
  });

  it("names the modules of a cycle only, in the order of its edges", () => {
    const graph = { a: ["b"], b: ["c"], c: ["d"], d: ["b", "e"], e: [] };
    const told = problemOf(body(graph, "abcde"))
      .replace(/^.*got /, "")
      .split(" → ");
    expect(told.slice(1).toSorted()).toEqual(["b", "c", "d"]);
    expect(told[0]).toBe(told.at(-1));
    const follows: Record<string, string> = { b: "c", c: "d", d: "b" };
    for (const [index, one] of told.slice(0, -1).entries()) {
      expect(follows[one]).toBe(told[index + 1]);
    }
  });

  it("takes one of several ends as the output", () => {
    const graph = { a: ["b"], b: [], c: [] };
    expect(readWorkflow(body(graph, "abc", { output: "c" })).graph.sink).toBe("c");
    expect(problemOf(body(graph, "abc", { output: "a" }))).toMatch(/^output: .*got "a"$/);
  });
});

describe("what a workflow cannot be", () => {
  const one = (fields: object) => ({ modules: { m: { ...module, ...fields } }, graph: { m: [] } });
  const coded = (fields: object) => ({ modules: { m: fields }, graph: { m: [] } });
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`m${n}`, module]));
  it.each([
    [{ modules: { "a b": module }, graph: {} }, /^modules\["a b"\]: expected a name of 1 to 64/],
    [{ modules: { ["x".repeat(65)]: module }, graph: {} }, /expected a name of 1 to 64/],
    [{ modules: many, graph: {} }, /^modules: expected at most 64 modules$/],
    [{ ...one({}), workflow_id: "a/b" }, /^workflow_id: expected a name/],
    [one({ timeout_seconds: 31 }), /^modules\.m\.timeout_seconds: .*0\.001 to 30, got 31$/],
    [one({ timeout_seconds: 0 }), /timeout_seconds: .*got 0$/],
    [one({ retries: 1.5 }), /^modules\.m\.retries: expected a whole number from 0 to 3, got 1\.5$/],
    [one({ parameters: [] }), /^modules\.m\.parameters: expected an object, got array$/],
    [one({ parameters: deep(60) }), /^modules\.m\.parameters\.a.*nested deeper than 48 levels$/],
    [one({ parameters: { x: "y".repeat(262_144) } }), /^the workflow: expected at most 262144 byt/],
    [one({ policyRuleURI: "p:1-t" }), /^modules\.m: .*got policyRuleURI and code$/],
    [coded({}), /^modules\.m: expected one of policyRuleURI, code and codePath, got none of them$/],
    [coded({ policyRuleURI: "p" }), /^modules\.m\.policyRuleURI: .*name:version-release_tag/],
    [coded({ codePath: "/opt/m.zip" }), /^modules\.m\.codePath: .*publish the code as a policy/],
    [coded({ codePath: "http://h:80/m-1.zip" }), /^modules\.m\.codePath: .*publish the code/],
    [coded({ code: { javascript: "x" } }), /^modules\.m\.code\.javascript: .* in Python only/],
    [coded({ code: { python: " " } }), /^modules\.m\.code\.python: expected Python text/],
    [one({ when: [{ output: "m" }] }), /^modules\.m\.when: .*\(there is none\), got "m"$/],
    [parseLossless('{"graph":{"a":{"__proto__":1}}}'), /^graph\.a\.__proto__: a key cannot have/],
    [parseLossless('{"globalParameters":{"x":[1e999]}}'), /^globalParameters\.x\[0\]: .*1e999$/],
    [{ globalParameters: { x: Number.NaN } }, /^globalParameters\.x: expected a number/],
    [{ modules: {}, graph: [] }, /^graph: expected an object of lists.*got array$/],
    [{ ...one({}), tags: [1] }, /^tags\[0\]: expected text, got 1$/],
    [[], /^the workflow: expected an object, got array$/],
  ])("%# is refused with the path of the field", (given, message) => {
    expect(problemOf(given)).toMatch(message);
  });

  it("is not refused for what nobody reads, but warned of", () => {
    const modules = { m: { ...module, retrys: 2 }, idle: module };
    const { warnings } = readWorkflow({ modules, graph: { m: [] }, grap: {} });
    expect(warnings).toEqual([
      "grap: is not known and not used. Did you mean graph?",
      "modules.m.retrys: is not known and not used. Did you mean retries?",
      "modules.idle: no graph names it; it is not run",
    ]);
  });

  it("may be the name of an object's own method", () => {
    const { graph } = readWorkflow({
      modules: { constructor: module },
      graph: { constructor: [] },
    });
    expect(graph.order).toEqual(["constructor"]);
    expect(problemOf({ modules: {}, graph: { toString: [] } })).toMatch(/there is no module "toS/);
  });
});

describe("a checker", () => {
  it("needs no graph for a single module, and leaves the decision's single one without", () => {
    const workflow = readWorkflow({
      ...{ workflow_id: "w", modules: { b: module } },
      checker: { modules: { c: module } },
    });
    expect(workflow.graph).toMatchObject({ order: ["b"], sink: "b" });
    expect(workflow.checker).toMatchObject({ order: ["c"], sink: "c" });
  });

  it("has a graph of its own over the same modules, and may have more of them", () => {
    const checker = { graph: { a: ["c"] }, modules: { c: module } };
    const when = { output: "c", op: "exists" };
    const workflow = readWorkflow({
      ...{ modules: { a: module, b: { ...module, when } }, checker, graph: { b: [] } },
    });
    expect(workflow.checker).toMatchObject({ order: ["a", "c"], sink: "c" });
    expect(workflow.graph.order).toEqual(["b"]);
  });

  it("shares no step with the decision, has one end, and known modules", () => {
    const twice = body({ a: ["b"] }, "ab", { checker: { graph: { a: [] } } });
    expect(problemOf(twice)).toMatch(/^graph\.a: the checker runs it already/);
    const ends = body({ c: [] }, "abc", { checker: { graph: { a: [], b: [] } } });
    expect(problemOf(ends)).toMatch(/^checker\.output: .*ends in 2: a, b$/);
    const stranger = body({ c: [] }, "c", { checker: { graph: { d: [] } } });
    expect(problemOf(stranger)).toMatch(/^checker\.graph\.d: there is no module "d"/);
    const again = body({ c: [] }, "c", { checker: { graph: { c: [] }, modules: { c: module } } });
    expect(problemOf(again)).toMatch(
      /^checker\.modules\.c: expected a name that "modules" does no/,
    );
  });
});
