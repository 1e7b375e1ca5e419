import { exceededBound, pathAt } from "@berth/service-kit";
import { numberBeyondDouble } from "./number-beyond-double.ts";

/** One text that a policy is given, and what the client knows it as. */
export interface GivenText {
  readonly json: string;
  /** Field of the request; empty when the text's own members are its fields. */
  readonly field: string;
  /** Levels of the text that the client did not write. */
  readonly addedLevels: number;
}

/** The texts that a policy is given, by the sandbox's names for them. */
export type GivenTexts = Readonly<Record<"settings" | "parameters" | "input", GivenText>>;

const NAMED = /^(settings|parameters|input)(?:Json)?: (.*)$/s;
const TOO_DEEP = /^nested \d+ deep, at most (\d+) are allowed$/;
const TOO_LARGE_NUMBER = /^the number .* does not fit a double$/s;

/**
 * Why the sandbox does not take an input, in terms of the client's request: its field, and the place in it where
 * that can be told. The sandbox knows the texts only.
 */
export function inputProblem(message: string, texts: GivenTexts): string {
  const [, name, why = ""] = NAMED.exec(message) ?? [];
  if (name !== "settings" && name !== "parameters" && name !== "input") return message;
  const text = texts[name];
  const [, levels] = TOO_DEEP.exec(why) ?? [];
  if (levels !== undefined) {
    const depth = Number(levels);
    const at = exceededBound(text.json, { depth, values: Number.POSITIVE_INFINITY })?.at;
    return `${fieldAt(text, at)}: nested deeper than ${depth - text.addedLevels} levels`;
  }
  if (!TOO_LARGE_NUMBER.test(why)) return `${fieldAt(text, undefined)}: ${why}`;
  return `${fieldAt(text, numberBeyondDouble(text.json))}: ${why}`;
}

function fieldAt({ json, field }: GivenText, at: number | undefined): string {
  const path = at === undefined ? "" : pathAt(json, at);
  if (field === "") return path === "" ? "inputs" : path;
  return path === "" || path.startsWith("[") ? `${field}${path}` : `${field}.${path}`;
}
