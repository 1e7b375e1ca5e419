import { type Frame, FrameError } from "../protocol/frames.ts";

/** What a worker tells about a finished run; the figures are the worker's own word. */
export interface RunFacts {
  readonly fired: "" | "wall" | "cpu";
  readonly cpuMs: number;
}

/** A frame from a worker that passed every check of form. */
export type WorkerMessage =
  | { readonly type: "ready" }
  | { readonly type: "snapshot"; readonly sections: readonly Uint8Array[] }
  | { readonly type: "started"; readonly id: number }
  | { readonly type: "call"; readonly id: number; readonly seq: number; readonly text: string }
  | {
      readonly type: "done";
      readonly id: number;
      readonly facts: RunFacts;
      readonly sections: readonly Uint8Array[];
    }
  | {
      readonly type: "trap";
      readonly id: number;
      readonly facts: RunFacts;
      readonly message: string;
    };

const UTF8 = new TextDecoder("utf-8", { fatal: true });
const MAX_CPU_MS = 24 * 60 * 60 * 1_000;

/** Checks a worker's frame, which is hostile; throws `FrameError` for anything that is not expected. */
export function parseWorkerMessage(frame: Frame): WorkerMessage {
  const { header, sections } = frame;
  switch (header.type) {
    case "ready":
      return { type: "ready" };
    case "snapshot":
      return { type: "snapshot", sections };
    case "started":
      return { type: "started", id: wholeNumber(header, "id") };
    case "call":
      return {
        type: "call",
        id: wholeNumber(header, "id"),
        seq: wholeNumber(header, "seq"),
        text: decodeUtf8(sections[0]),
      };
    case "done":
      return { type: "done", id: wholeNumber(header, "id"), facts: factsOf(header), sections };
    case "trap":
      return {
        type: "trap",
        id: wholeNumber(header, "id"),
        facts: factsOf(header),
        message: decodeUtf8(sections[0]).slice(0, 500),
      };
    default:
      throw new FrameError("unknown type of frame");
  }
}

/** Strict UTF-8; throws `FrameError`. */
export function decodeUtf8(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) throw new FrameError("a section is missing");
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new FrameError("a section is not UTF-8");
  }
}

function factsOf(header: Frame["header"]): RunFacts {
  const fired = header.fired;
  if (fired !== "" && fired !== "wall" && fired !== "cpu") throw new FrameError("unknown deadline");
  const cpuMs = header.cpuMs;
  if (typeof cpuMs !== "number" || !(cpuMs >= 0 && cpuMs <= MAX_CPU_MS)) {
    throw new FrameError("cpuMs is not a duration");
  }
  return { fired, cpuMs };
}

function wholeNumber(header: Frame["header"], name: string): number {
  const value = header[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new FrameError(`${name} is not a whole number`);
}
