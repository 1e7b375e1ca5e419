import { randomUUID } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { BerthError, type Logger, makeDirectory } from "@berth/service-kit/base";

/** What the agent keeps in its data directory. */
export interface AgentState {
  /** Counts the starts of this data directory: 1 for the first. */
  readonly incarnation: number;
  /** Identity of the machine for where /etc/machine-id is missing; a UUID minted at first start. */
  readonly fallbackMachineId: string;
  /** UUIDs of the starts, oldest first, at most {@link MAX_STARTS}. */
  readonly instanceIds: readonly string[];
  /** The start that the cluster-agent answered last; absent when none was, or not known. */
  readonly answeredId?: string;
}

/** A start that was counted. */
export interface CountedStart extends Pick<AgentState, "incarnation" | "fallbackMachineId"> {
  /** UUIDs of the starts before it, oldest first, at most {@link MAX_STARTS}. */
  readonly formerInstanceIds: readonly string[];
  /**
   * Keeps, durably when it resolves, that the cluster-agent has answered this start: it knows its id from then on.
   * Repeated calls write nothing. Throws as {@link countStart} does.
   */
  readonly wasAnswered: () => Promise<void>;
}

/** Starts that are remembered: the one that was answered last, and the newest ones. */
export const MAX_STARTS = 256;

const MAX_ID_LENGTH = 128;
const FILE_NAME = "node-agent.json";

/**
 * Counts a start in the data directory and returns it, after it is durable: written to a second file, synced,
 * renamed, directory synced. A damaged file is set aside; the count then goes on from the seconds since
 * 1970, which is more than any number of starts, so that it still rises.
 * Throws BerthError UNAVAILABLE when the directory cannot be written.
 */
export async function countStart(
  dataDir: string,
  { instanceId, logger }: { readonly instanceId: string; readonly logger: Logger },
): Promise<CountedStart> {
  return usingDirectory(async () => {
    makeDirectory(dataDir);
    const before = await readState(path.join(dataDir, FILE_NAME), logger);
    const { fallbackMachineId, instanceIds: formerInstanceIds } = before;
    const incarnation = before.incarnation + 1;
    const instanceIds = boundedStarts([...formerInstanceIds, instanceId], before.answeredId);
    const next: AgentState = { ...before, incarnation, instanceIds };
    await writeState(dataDir, next);
    const wasAnswered = answerKeeper(dataDir, next, instanceId);
    return { incarnation, fallbackMachineId, formerInstanceIds, wasAnswered };
  });
}

/** Writes that the newest start of a state was answered, until it is written. */
function answerKeeper(dataDir: string, state: AgentState, answeredId: string) {
  let isKept = false;
  return async (): Promise<void> => {
    if (isKept) return;
    await usingDirectory(() => writeState(dataDir, { ...state, answeredId }));
    isKept = true;
  };
}

/**
 * The starts with the oldest left out when there are too many, but for the one that was answered last: after any
 * number of starts that reached nobody the cluster-agent still finds one that it knows.
 */
function boundedStarts(ids: readonly string[], answeredId: string | undefined): readonly string[] {
  const newest = ids.slice(-MAX_STARTS);
  if (answeredId === undefined || newest.includes(answeredId)) return newest;
  return ids.includes(answeredId) ? [answeredId, ...newest.slice(1)] : newest;
}

async function usingDirectory<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `BERTH_DATA_DIR: expected a directory that can be written: ${why}`;
    throw new BerthError("UNAVAILABLE", message, { cause });
  }
}

/** Reads the text of a state file, also of a version that did not keep the starts; undefined when it is none. Pure. */
export function parseState(text: string): AgentState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { incarnation, fallbackMachineId, instanceIds, answeredId } = {
    instanceIds: [],
    ...(value as Partial<Record<keyof AgentState, unknown>>),
  };
  if (typeof incarnation !== "number" || !Number.isSafeInteger(incarnation) || incarnation < 0) {
    return undefined;
  }
  if (typeof fallbackMachineId !== "string" || fallbackMachineId === "") return undefined;
  if (!areStarts(instanceIds)) return undefined;
  const state = { incarnation, fallbackMachineId, instanceIds };
  if (answeredId === undefined) return state;
  return areStarts([answeredId]) ? { ...state, answeredId: String(answeredId) } : undefined;
}

function areStarts(value: unknown): value is readonly string[] {
  if (!Array.isArray(value) || value.length > MAX_STARTS) return false;
  return value.every((id) => typeof id === "string" && id !== "" && id.length <= MAX_ID_LENGTH);
}

async function readState(file: string, logger: Logger): Promise<AgentState> {
  const text = await readIfThere(file);
  if (text === undefined) return { ...newState(), incarnation: 0 };
  const state = parseState(text);
  if (state !== undefined) return state;
  const aside = `${file}.damaged`;
  await rename(file, aside);
  logger.warn("the state file is damaged and was set aside", { aside });
  const incarnation = Math.floor(Date.now() / 1_000);
  return { ...newState(), incarnation };
}

function newState(): Omit<AgentState, "incarnation"> {
  return { fallbackMachineId: randomUUID(), instanceIds: [] };
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    throw thrown;
  }
}

async function writeState(dataDir: string, state: AgentState): Promise<void> {
  const file = path.join(dataDir, FILE_NAME);
  const fresh = await open(`${file}.new`, "w", 0o600);
  try {
    await fresh.writeFile(`${JSON.stringify(state)}\n`);
    await fresh.sync();
  } finally {
    await fresh.close();
  }
  await rename(`${file}.new`, file);
  const folder = await open(dataDir, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
