/**
 * `npm run proto:check`, last step: generates the code of the .proto files into a temporary folder
 * and fails with the names of the committed files that are stale, missing or no longer generated.
 */
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";

const GENERATED = "proto/src/gen";
const root = path.join(import.meta.dirname, "..");
const fresh = mkdtempSync(path.join(os.tmpdir(), "berth-generated-"));

try {
  generate();
  const problems = compare();
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) console.error("run `npm run proto` and commit the result");
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  rmSync(fresh, { recursive: true });
}

/** buf writes below `--output` at the paths of buf.gen.yaml. */
function generate(): void {
  const buf = path.join(root, "node_modules/.bin/buf");
  const { status, stderr, error } = spawnSync(buf, ["generate", "--output", fresh], {
    cwd: root,
    encoding: "utf8",
    timeout: 120_000,
  });
  if (status !== 0) throw new Error(`buf generate failed: ${error?.message ?? stderr}`);
}

function compare(): readonly string[] {
  const wanted = read(path.join(fresh, GENERATED));
  const committed = read(path.join(root, GENERATED));
  if (wanted.size === 0) throw new Error("buf generate wrote nothing");
  const names = [...new Set([...wanted.keys(), ...committed.keys()])].sort();
  return names
    .filter((name) => wanted.get(name) !== committed.get(name))
    .map((name) => `${GENERATED}/${name}: ${difference(wanted.has(name), committed.has(name))}`);
}

function difference(isWanted: boolean, isCommitted: boolean): string {
  if (!isCommitted) return "is missing";
  return isWanted ? "is stale" : "is no longer generated";
}

function read(folder: string): ReadonlyMap<string, string> {
  const names = globSync("**/*.ts", { cwd: folder });
  return new Map(names.map((name) => [name, readFileSync(path.join(folder, name), "utf8")]));
}
