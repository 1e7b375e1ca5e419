/**
 * `npm run layers`: dependency-cruiser over the sources of all workspaces with the rules of
 * .dependency-cruiser.cjs, and three checks that it cannot make: that it saw every file (with a
 * TypeScript it does not know it sees none and is content), that workspaces declare each other, and
 * that nothing but main.ts and the cli uses the global `process`.
 */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { findProcessGlobals } from "./find-process-globals.ts";

interface CruiseResult {
  readonly modules: readonly {
    readonly source: string;
    readonly dependencies: readonly { readonly module: string }[];
  }[];
  readonly summary: {
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
      readonly cycle?: readonly { readonly name: string }[];
    }[];
  };
}

const root = path.join(import.meta.dirname, "..");
const workspaces: readonly string[] = readJson("package.json").workspaces;
const files = workspaces.flatMap((workspace) =>
  globSync(`${workspace}/src/**/*.ts`, { cwd: root }),
);

const result = cruise();
const cruised = new Set(result.modules.map(({ source }) => source));
const problems = [
  ...result.summary.violations.map(
    ({ rule, from, to, cycle }) =>
      `${rule.name}: ${[from, ...(cycle?.map(({ name }) => name) ?? [to])].join(" → ")}`,
  ),
  ...files.filter((file) => !cruised.has(file)).map((file) => `not-cruised: ${file}`),
  ...undeclaredWorkspaces(),
  ...files.filter(isProduct).flatMap(processGlobals),
];
for (const problem of problems) console.error(problem);
if (problems.length === 0) console.log(`layers: ${files.length} files, no violation`);
else console.error(`layers: ${problems.length} violations (rules: .dependency-cruiser.cjs)`);
process.exitCode = problems.length === 0 ? 0 : 1;

function cruise(): CruiseResult {
  const bin = path.join(root, "node_modules/.bin/depcruise");
  const sources = [...new Set(files.map((file) => file.split("/").slice(0, 2).join("/")))];
  const options = ["--config", ".dependency-cruiser.cjs", "--output-type", "json"];
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...options, ...sources], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1024 ** 3,
    timeout: 300_000,
  });
  if (status !== 0) throw new Error(`dependency-cruiser failed (${status}): ${stderr}${stdout}`);
  return JSON.parse(stdout);
}

/** dependency-cruiser does not tell a workspace that is declared from one that npm happens to link. */
function undeclaredWorkspaces(): readonly string[] {
  return result.modules.flatMap(({ source, dependencies }) => {
    const workspace = workspaces.find((name) => source.startsWith(`${name}/`));
    if (workspace === undefined || !isProduct(source)) return [];
    const manifest = readJson(`${workspace}/package.json`);
    return dependencies
      .map(({ module }) => /^@berth\/[^/]+/.exec(module)?.[0])
      .filter((name) => name !== undefined && manifest.dependencies?.[name] === undefined)
      .map((name) => `declared-dependencies: ${source} → ${name}`);
  });
}

function processGlobals(file: string): readonly string[] {
  if (/\/main\.ts$|^cli\/|^policy-sandbox\/src\/(host|worker)\//.test(file)) return [];
  const lines = findProcessGlobals(file, readFileSync(path.join(root, file), "utf8"));
  return lines.map((line) => `no-process: ${file}:${line} uses the global process`);
}

function isProduct(file: string): boolean {
  return !file.endsWith(".test.ts") && !file.includes("/src/testing/");
}

function readJson(file: string) {
  return JSON.parse(readFileSync(path.join(root, file), "utf8"));
}
