import { BerthError, isJsonObject } from "@berth/service-kit";
import { valueName } from "./value-name.ts";

/** `select_clusters` asks for the candidates, `dry_run` for the best of them. */
export type BlockMode = "select_clusters" | "dry_run";

/** A request of the existing deployment's clients: where could this block go? */
export interface BlockModeRequest {
  readonly mode: BlockMode;
  /** The block's entry with its numbers as written. */
  readonly entry: Readonly<Record<string, unknown>>;
}

/** Reads `{"input": <block>, "mode": …}`; a mode that is absent is `dry_run`. INVALID_ARGUMENT names the field. */
export function readBlockMode({
  input,
  mode,
}: Readonly<Record<string, unknown>>): BlockModeRequest {
  if (!isJsonObject(input)) {
    const got = input === undefined ? "nothing" : valueName(input);
    throw new BerthError("INVALID_ARGUMENT", `input: expected the entry of a block, got ${got}`);
  }
  if (mode === undefined || mode === null || mode === "") return { mode: "dry_run", entry: input };
  if (mode === "select_clusters" || mode === "dry_run") return { mode, entry: input };
  const got = typeof mode === "string" ? JSON.stringify(mode.slice(0, 60)) : valueName(mode);
  const message = `mode: expected "select_clusters" or "dry_run", got ${got}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
