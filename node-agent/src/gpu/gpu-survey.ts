import type { GpuInfo } from "@berth/proto";
import { type GpuListing, type GpuSurvey, judge, remarksOf } from "./gpu-inventory.ts";
import { INVENTORY_FIELDS, parseInventoryLine, smiArguments } from "./smi-fields.ts";
import { parseMigList } from "./smi-list.ts";
import type { QueryLimits, SmiAnswer, SmiRunner } from "./smi-runner.ts";
import { parseTopology } from "./smi-topology.ts";
import { parseSmiXml, type SmiLog } from "./smi-xml.ts";

/** The log that the driver gave, or why it gave none. */
export type LogAnswer =
  | { readonly kind: "log"; readonly log: SmiLog; readonly remarks: readonly string[] }
  | { readonly kind: "no_log"; readonly problem: string };

/** What a survey found, and what it could not find out. */
export interface SurveyAnswer {
  readonly survey: GpuSurvey;
  /** Lines beside the log. */
  readonly logRemarks: readonly string[];
  /** For the operator's log: queries that failed, and a log of which a part is left out. */
  readonly problems: readonly string[];
}

const MAX_GPUS = 64;

/** Asks once for the GPUs of this machine, in the driver's order, each UUID once. Never rejects. */
export async function listGpus(runner: SmiRunner, limits: QueryLimits): Promise<GpuListing> {
  const answer = await runner.query(smiArguments(INVENTORY_FIELDS), limits);
  if (answer.kind === "timed_out") {
    return { kind: "failed", error: `nvidia-smi did not answer in ${limits.deadlineMs} ms` };
  }
  if (answer.kind !== "ended") return answer;
  const gpus = new Map<string, GpuInfo>();
  const others: string[] = [];
  for (const line of answer.lines) {
    const gpu = parseInventoryLine(line);
    if (gpu === undefined) others.push(line);
    else if (gpus.size < MAX_GPUS) gpus.set(gpu.uuid, gpu);
  }
  return judge(answer.end, [...gpus.values()], others);
}

/**
 * Asks for what seldom changes, one query after the other: the MIG parts (`-L`, only where MIG is on),
 * the topology (`topo -m`) and the log (`-q -x`). Never rejects; a query that fails leaves its part out.
 */
export async function surveyGpus(
  runner: SmiRunner,
  gpus: readonly GpuInfo[],
  limits: QueryLimits,
): Promise<SurveyAnswer> {
  const problems: string[] = [];
  let incomplete = false;
  const ask = async (args: readonly string[]) => {
    const answer = await runner.query(args, limits);
    const problem = problemOf(args, answer);
    if (problem !== undefined) problems.push(problem);
    if (answer.kind !== "ended") incomplete = true;
    return problem === undefined && answer.kind === "ended" ? answer.lines : undefined;
  };
  const hasParts = gpus.some((gpu) => gpu.migEnabled === true);
  const list = hasParts ? await ask(["-L"]) : [];
  const matrix = parseTopology((await ask(["topo", "-m"])) ?? []);
  const log = await readLog(runner, limits);
  const problem = log.kind === "no_log" ? log.problem : log.log.doubt;
  if (problem !== undefined) problems.push(problem);
  return {
    survey: {
      gpus,
      parts: list && parseMigList(list),
      matrix,
      log: log.kind === "log" ? log.log : undefined,
      incomplete,
    },
    logRemarks: log.kind === "log" ? log.remarks : [],
    problems,
  };
}

/** Asks for the log (`-q -x`). Never rejects. */
export async function readLog(runner: SmiRunner, limits: QueryLimits): Promise<LogAnswer> {
  const args = ["-q", "-x"];
  const answer = await runner.query(args, limits);
  // Of a log that was cut nobody knows whether a program's name ends it.
  const lines = answer.kind === "ended" && !answer.isCut ? answer.lines : [];
  const log = parseSmiXml(lines.join("\n"));
  if (log === undefined) {
    return { kind: "no_log", problem: problemOf(args, answer) ?? `${nameOf(args)} printed no log` };
  }
  const start = lines.findIndex((line) => line.startsWith("<"));
  return { kind: "log", log, remarks: remarksOf(lines.slice(0, Math.max(0, start))) };
}

/** What went wrong with a query; undefined when it ended with code 0. */
function problemOf(args: readonly string[], answer: SmiAnswer): string | undefined {
  const name = nameOf(args);
  if (answer.kind === "timed_out") return `${name} did not answer in time`;
  if (answer.kind !== "ended") return `${name}: ${answer.kind}`;
  const { end, lines } = answer;
  if (end.kind !== "exited") return `${name}: ${end.kind}`;
  if (end.code === 0) return undefined;
  return `${name} ended with ${end.signal ?? `code ${end.code}`}: ${lines[0]?.slice(0, 200) ?? ""}`;
}

function nameOf(args: readonly string[]): string {
  return `nvidia-smi ${args.join(" ")}`;
}
