import { isJsonObject, parseLossless, plainOf, typeName } from "@berth/service-kit";
import { CHANGEABLE, type Hook } from "./hooks.ts";

/** What a pre-check policy said. */
export type Verdict =
  | {
      readonly kind: "allowed";
      /** What is to be done instead of what was asked for, numbers as the policy wrote them; absent = as asked. */
      readonly changed?: unknown;
    }
  | {
      readonly kind: "denied";
      /** For people. */
      readonly reason: string;
      /** What the policy gave as its reason; JSON. */
      readonly data: unknown;
    }
  /** It allowed the action, and changed its input to what does not hold, and why that does not. */
  | { readonly kind: "unfit"; readonly message: string }
  /** It returned something else. */
  | { readonly kind: "invalid"; readonly message: string };

const MAX_REASON_CHARACTERS = 2_000;

/**
 * Reads `{"allowed": …, "input_data": …}`. On a denial `input_data` is the reason, text or object; the existing deployment's
 * controller read `message`, which counts where there is no `input_data`. When it is allowed, `input_data` is the input as it was, or the
 * changeable member of it alone or within the whole ({@link CHANGEABLE}; `updated_node_data` is an older name of `node_data`).
 */
export function readVerdict(hook: Hook, resultJson: string): Verdict {
  const result = parseLossless(resultJson);
  if (!isJsonObject(result)) return invalid(`expected an object, got ${typeName(plainOf(result))}`);
  const { allowed, input_data: data, message, updated_node_data: older } = result;
  if (typeof allowed !== "boolean") {
    return invalid(`allowed: expected true or false, got ${typeName(plainOf(allowed))}`);
  }
  if (!allowed) {
    const given = plainOf(data ?? message ?? null);
    return { kind: "denied", reason: reasonOf(given), data: given };
  }
  const item = CHANGEABLE[hook];
  if (item === undefined) return { kind: "allowed" };
  const changed = changedItem(data ?? older, item);
  return changed === undefined ? { kind: "allowed" } : { kind: "allowed", changed };
}

function changedItem(data: unknown, item: string): unknown {
  if (data === undefined || data === null) return undefined;
  return isJsonObject(data) && Object.hasOwn(data, item) ? data[item] : data;
}

function reasonOf(given: unknown): string {
  if (given === null || given === "") return "the policy gave no reason";
  if (typeof given === "string") return given.slice(0, MAX_REASON_CHARACTERS);
  const told = isJsonObject(given) ? (given.message ?? given.reason) : undefined;
  const text = typeof told === "string" ? told : JSON.stringify(given);
  return text.slice(0, MAX_REASON_CHARACTERS);
}

function invalid(message: string): Verdict {
  return { kind: "invalid", message };
}
