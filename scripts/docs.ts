import { existsSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { ERROR_TABLE, type Settings } from "@berth/service-kit";
import { Code } from "@connectrpc/connect";
import { programSettings as clusterAgent } from "../cluster-agent/src/settings.ts";
import { settings as controlPlane } from "../control-plane/src/settings.ts";
import { NODE_AGENT_SETTINGS as nodeAgent } from "../node-agent/src/settings.ts";
import { settings as simulator } from "../simulator/src/settings.ts";

/**
 * `npm run docs` writes the tables of the documentation that follow from code, between their markers;
 * `npm run docs -- --check` fails when one is stale, or when a test that the failure model names is missing.
 */
const TABLES: readonly (readonly [file: string, marker: string, table: string])[] = [
  ["README.md", "errors", errorTable()],
  ["docs/settings.md", "control-plane", settingsTable(controlPlane)],
  ["docs/settings.md", "cluster-agent", settingsTable(clusterAgent)],
  ["docs/settings.md", "node-agent", settingsTable(nodeAgent)],
  ["docs/settings.md", "simulator", settingsTable(simulator)],
];

const check = process.argv.includes("--check");
const stale: string[] = [];
for (const [file, marker, table] of TABLES) {
  const url = new URL(`../${file}`, import.meta.url);
  const text = readFileSync(url, "utf8");
  const place = new RegExp(`(<!-- ${marker} -->\n)[^]*?(<!-- /${marker} -->)`);
  if (!place.test(text)) throw new Error(`${file} has no markers for ${marker}`);
  const wanted = text.replace(place, (_all, begin, end) => `${begin}${table}\n${end}`);
  if (wanted === text) continue;
  if (check) stale.push(`${file}: the table ${marker} is stale; run npm run docs`);
  else writeFileSync(url, wanted);
}
stale.push(...missingFaultTests());
for (const line of stale) console.error(line);
process.exitCode = stale.length === 0 ? 0 : 1;

/** Tests that docs/failure-model.md names and that are not there. */
function missingFaultTests(): string[] {
  const file = "docs/failure-model.md";
  const text = readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
  const rows = [...text.matchAll(/\| `([^`]+\.test\.ts)`: (.+) \|$/gm)];
  if (rows.length === 0) throw new Error(`${file} names no tests`);
  return rows.flatMap(([, path = "", name = ""]) => {
    const url = new URL(`../${path}`, import.meta.url);
    if (existsSync(url) && hasTest(readFileSync(url, "utf8"), name)) return [];
    return [`${file}: ${path} has no test "${name}"`];
  });
}

/** Whether a source has a test or a suite of this name that is not left out. */
function hasTest(source: string, name: string): boolean {
  const quoted = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(\\b(?:describe|it|test)|\\))\\(\\s*(["'\`])${quoted}\\2`).test(source);
}

function errorTable(): string {
  const rows = Object.entries(ERROR_TABLE).map(
    ([reason, { code, http }]) => `| \`${reason}\` | ${http} | ${Code[code]} |`,
  );
  return ["| reason | HTTP | Connect code |", "|---|---|---|", ...rows].join("\n");
}

function settingsTable(settings: Settings): string {
  const rows = Object.values(settings).map(({ env, doc, fallback, required }) => {
    const value = required === true ? "required" : show(fallback);
    return `| \`${env}\` | ${value} | ${doc} |`;
  });
  return ["| variable | default | what |", "|---|---|---|", ...rows].join("\n");
}

function show(fallback: unknown): string {
  const text = Array.isArray(fallback) ? fallback.join(",") : String(fallback ?? "");
  return text === "" ? "" : `\`${text}\``;
}
