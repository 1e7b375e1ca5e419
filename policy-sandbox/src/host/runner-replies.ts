import type { Limits } from "../limits.ts";
import type { PolicyError, PolicyProblem, UnresolvedImport } from "../outcome.ts";
import { FrameError } from "../protocol/frames.ts";
import type { InputCheck } from "./input-trust.ts";
import { scanJson } from "./json-scan.ts";
import { decodeUtf8 } from "./worker-messages.ts";

/** What the Python runner says about an evaluation, after every check of form. */
export interface EvaluationReply {
  readonly log: string;
  readonly logTruncated: boolean;
  readonly cold: boolean;
  readonly instances: ReadonlySet<string>;
  /** Which intake of resident documents was the last that it took in. */
  readonly revision: number;
  readonly inputCheck: InputCheck;
  /** Memory ran out: what is left of it may be too little for the next one. */
  readonly exhausted: boolean;
  /** It ran out while the policy was loaded where others had been before: `eval` was not reached. */
  readonly crowded: boolean;
  readonly result:
    | {
        readonly kind: "returned";
        readonly resultJson: string;
        readonly contextJson: string | null;
      }
    | { readonly kind: "raised"; readonly error: PolicyError }
    | { readonly kind: "invalid_result"; readonly path: string; readonly message: string }
    | { readonly kind: "invalid_input"; readonly message: string }
    /** The policy did not run, and the interpreter is beyond use. */
    | { readonly kind: "broken"; readonly message: string };
}

type Head = Readonly<Record<string, unknown>>;
type Sections = readonly Uint8Array[];

const MAX_TEXT_CHARS = 16_000;
const MAX_INSTANCES = 64;
const MAX_LIST = 10_000;

/** Reads an evaluation's reply; throws `FrameError` when the worker says what the runner never would. */
export function parseEvaluationReply(sections: Sections, limits: Limits): EvaluationReply {
  const head = parseObject(decodeUtf8(sections[0]));
  const log = text(head, "log", limits.logBytes);
  const instances = list(head, "instances", MAX_INSTANCES).map((key) => {
    if (typeof key === "string" && key.length <= 64) return key;
    throw new FrameError("instances holds something else than keys");
  });
  return {
    log,
    logTruncated: head.logTruncated === true,
    cold: head.cold !== false,
    instances: new Set(instances),
    revision: wholeNumber(head, "revision"),
    inputCheck: inputCheck(head),
    exhausted: head.exhausted === true,
    crowded: head.exhausted === true && head.crowded === true,
    result: parseResult(head, sections, limits),
  };
}

/** Reads the reply of a check. */
export function parseCheckReply(sections: Sections): {
  problems: PolicyProblem[];
  unresolvedImports: UnresolvedImport[];
} {
  const body = parseObject(decodeUtf8(sections[1]));
  return {
    problems: list(body, "problems", MAX_LIST).map((item) => parseProblem(asObject(item))),
    unresolvedImports: list(body, "unresolved", MAX_LIST).map((item) => {
      const found = asObject(item);
      return {
        module: text(found, "module"),
        file: text(found, "file"),
        line: lineNumber(found, "line") ?? 1,
      };
    }),
  };
}

/** Reads the reply of an unpacking: the files, or the reason and message of the refusal. */
export function parseUnpackReply(
  sections: Sections,
): { files: Record<string, string> } | { reason: string; message: string } {
  const head = parseObject(decodeUtf8(sections[0]));
  if (head.kind === "refused")
    return { reason: text(head, "reason"), message: text(head, "message") };
  if (head.kind !== "unpacked") throw new FrameError("unknown kind of reply");
  const body = parseObject(decodeUtf8(sections[1]));
  const files: [string, string][] = Object.entries(body).map(([path, content]) => {
    if (typeof content !== "string") throw new FrameError("a file is not text");
    return [path, content];
  });
  return { files: Object.fromEntries(files) };
}

function parseResult(head: Head, sections: Sections, limits: Limits): EvaluationReply["result"] {
  switch (head.kind) {
    case "returned": {
      const resultJson = jsonText(sections[1], limits.outputBytes, limits.resultDepth);
      const changed = sections[2] !== undefined && sections[2].byteLength > 0;
      const contextJson = changed
        ? jsonText(sections[2], limits.contextBytes, limits.resultDepth)
        : null;
      if (contextJson !== null) parseObject(contextJson);
      return { kind: "returned", resultJson, contextJson };
    }
    case "raised":
      return { kind: "raised", error: parseError(asObject(head.error)) };
    case "invalid_result":
      return { kind: "invalid_result", path: text(head, "path"), message: text(head, "message") };
    case "invalid_input":
      return { kind: "invalid_input", message: text(head, "message") };
    case "broken":
      return { kind: "broken", message: text(head, "message") };
    default:
      throw new FrameError("unknown kind of reply");
  }
}

function inputCheck(head: Head): InputCheck {
  const check = head.input;
  if (check === "clean" || check === "changed" || check === "unknown") return check;
  throw new FrameError("input is not a verdict");
}

function wholeNumber(object: Head, name: string): number {
  const value = object[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new FrameError(`${name} is not a whole number`);
}

function jsonText(bytes: Uint8Array | undefined, maxBytes: number, maxDepth: number): string {
  if (bytes !== undefined && bytes.byteLength > maxBytes)
    throw new FrameError("a text is too large");
  const json = decodeUtf8(bytes);
  if (scanJson(json).depth > maxDepth) throw new FrameError("a text is nested too deeply");
  try {
    JSON.parse(json);
  } catch {
    throw new FrameError("a text is not JSON");
  }
  return json;
}

function parseError(error: Head): PolicyError {
  const file = error.file;
  return {
    type: text(error, "type"),
    message: text(error, "message"),
    file: file === null ? null : text(error, "file"),
    line: lineNumber(error, "line"),
    traceback: text(error, "traceback"),
  };
}

function parseProblem(problem: Head): PolicyProblem {
  const code = problem.code;
  if (
    code !== "syntax_error" &&
    code !== "missing_entry" &&
    code !== "missing_class" &&
    code !== "missing_eval"
  ) {
    throw new FrameError("unknown problem");
  }
  return {
    code,
    message: text(problem, "message"),
    file: text(problem, "file"),
    line: lineNumber(problem, "line"),
    column: lineNumber(problem, "column"),
    text: problem.text === null ? null : text(problem, "text"),
  };
}

function text(object: Head, name: string, maxChars = MAX_TEXT_CHARS): string {
  const value = object[name];
  if (typeof value === "string" && value.length <= maxChars) return value;
  throw new FrameError(`${name} is not a short text`);
}

function lineNumber(object: Head, name: string): number | null {
  return object[name] === null ? null : wholeNumber(object, name);
}

function list(object: Head, name: string, maxItems: number): unknown[] {
  const value = object[name];
  if (Array.isArray(value) && value.length <= maxItems) return value;
  throw new FrameError(`${name} is not a short list`);
}

function parseObject(json: string): Head {
  try {
    return asObject(JSON.parse(json));
  } catch {
    throw new FrameError("a reply is not a JSON object");
  }
}

function asObject(value: unknown): Head {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new FrameError("a reply is not a JSON object");
}
