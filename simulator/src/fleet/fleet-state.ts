import { createHmac } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { BerthError, makeDirectory, newSecret } from "@berth/service-kit";

/** What a fleet keeps for all of its nodes over restarts, in one file instead of one for each node. */
export interface FleetState {
  /** Number of this start of the fleet, 1 for the first. */
  readonly starts: number;
  /** Secret that the nodes' keys are made of. */
  readonly secret: string;
}

const SECRET = /^[\w-]{43}$/;
/** Boots that one node may have in one start of its fleet. */
const BOOTS_PER_START = 1_000_000;

/**
 * Counts this start of a fleet in `<dataDir>/<name>.json` (0600). Rejects with UNAVAILABLE, naming the
 * file, when it is damaged or cannot be written.
 */
export async function openFleetState(dataDir: string, name: string): Promise<FleetState> {
  const file = path.join(dataDir, `${name}.json`);
  try {
    makeDirectory(dataDir);
    const before = await readState(file);
    const state = { ...before, starts: before.starts + 1 };
    await writeFile(`${file}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
    await rename(`${file}.new`, file);
    return state;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `the fleet's state ${file} cannot be used: ${why}`;
    throw new BerthError("UNAVAILABLE", message, { cause });
  }
}

/** The key of a node: the same in every start, 43 base64url characters. Pure. */
export function nodeKey({ secret }: FleetState, nodeId: string): string {
  return createHmac("sha256", secret).update(nodeId).digest("base64url");
}

/** Incarnation of a node in its `boot`-th boot of this start; it rises over both. Pure. */
export function nodeIncarnation({ starts }: FleetState, boot: number): number {
  return starts * BOOTS_PER_START + boot;
}

async function readState(file: string): Promise<FleetState> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (thrown) {
    const isMissing = thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
    if (isMissing) return { starts: 0, secret: newSecret() };
    throw thrown;
  }
  const value: unknown = JSON.parse(text);
  const { starts, secret } = (value ?? {}) as Partial<Record<keyof FleetState, unknown>>;
  if (typeof starts === "number" && Number.isSafeInteger(starts) && starts >= 0) {
    if (typeof secret === "string" && SECRET.test(secret)) return { starts, secret };
  }
  throw new Error(
    "it is damaged: remove it, and the directories of the fleet's clusters beside it",
  );
}
