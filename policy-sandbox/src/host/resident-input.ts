import type { Limits } from "../limits.ts";
import type {
  EvaluationRequest,
  ResidentDocument,
  ResidentInput,
  ResidentPart,
} from "../request.ts";
import { hasUnreadableNumber, type JsonScan, scanJson } from "./json-scan.ts";

/** How much of resident documents one worker may hold. */
export interface ResidentBounds {
  /** UTF-8 bytes of the JSON texts. */
  readonly textBytes: number;
  /** Estimated bytes of the interpreter's heap. */
  readonly heapBytes: number;
}

/** What is known of one text after a look at it. */
export interface PartSize {
  readonly textBytes: number;
  /** What Python needs for the value and for its pristine copy, estimated from above. */
  readonly heapBytes: number;
  readonly depth: number;
  /** See `JsonScan.wideNumbers`. */
  readonly strict: boolean;
  /** See `hasUnreadableNumber`. */
  readonly unreadable: boolean;
}

/** Resident documents that passed the checks. */
export interface CheckedResidents {
  readonly documents: readonly ResidentDocument[];
  /** Names of the parts that the shape asks for, each once. */
  readonly parts: readonly string[];
  /** The shape as JSON, as the runner reads it. */
  readonly shapeJson: string;
  /** The documents become a member of `input_data`, which has to be an object. */
  readonly members: boolean;
}

/** Longest id of a document. */
export const MAX_NAME_CHARS = 1_000;
const SHOWN_CHARS = 120;

/** Looks at the text of a part, once: what was found is kept with the part object. */
export class PartSizes {
  readonly #known = new WeakMap<ResidentPart, PartSize>();

  /** What a part needs, or about as much where it says that it is shaped like another. */
  about(part: ResidentPart): PartSize {
    return this.of(part.shapedLike ?? part);
  }

  /** What a part needs. */
  of(part: ResidentPart): PartSize {
    const known = this.#known.get(part);
    if (known !== undefined) return known;
    const textBytes = Buffer.byteLength(part.json, "utf8");
    const scan = scanJson(part.json);
    const size = {
      textBytes,
      heapBytes: estimateHeapBytes(scan, { textBytes, chars: part.json.length }),
      depth: scan.depth,
      strict: scan.wideNumbers,
      unreadable: scan.wideNumbers && hasUnreadableNumber(part.json),
    };
    this.#known.set(part, size);
    return size;
  }
}

/**
 * Bytes that CPython 3.13 on wasm32 needs for the value of a text and its marshalled copy. Measured with
 * sys.getsizeof: an empty dict 40, one of 1, 6, 11 and 22 members 108, 156, 260 and 460, a list 28 and 4 for
 * each item, a float or small int 16, a string 21 and 1 to 4 for each character. Always a little too much.
 */
export function estimateHeapBytes(
  scan: JsonScan,
  text: { readonly textBytes: number; readonly chars: number },
): number {
  const perByte = text.textBytes === text.chars ? 2 : 5;
  const { objects, arrays, separators, strings } = scan;
  return (
    64 + perByte * text.textBytes + 120 * objects + 48 * arrays + 14 * separators + 24 * strings
  );
}

/** Names of the parts that a shape asks for, each once. */
export function partsOf(shape: ResidentInput["shape"]): string[] {
  return shape.kind === "list" ? [shape.part] : [...new Set(Object.values(shape.fields))];
}

/** Checks what a request wants resident; the string is the refusal's message. */
export function checkResidents(
  request: EvaluationRequest,
  resident: ResidentInput,
  known: { readonly sizes: PartSizes; readonly bounds: ResidentBounds },
): CheckedResidents | string {
  const { shape, documents } = resident;
  if ((request.call?.kind ?? "eval") !== "eval") return "resident: only for calls of eval";
  if (shape.kind === "list" && request.inputJson !== "null") {
    return 'inputJson: expected "null", because resident is a list';
  }
  const parts = partsOf(shape);
  if (parts.length === 0) return "resident.shape.fields: expected at least one field";
  const problem = checkDocuments(documents, parts, { ...known, limits: request.limits });
  if (problem !== null) return problem;
  const shapeJson = JSON.stringify(
    shape.kind === "list"
      ? ["list", shape.part]
      : ["members", shape.key, Object.entries(shape.fields)],
  );
  return { documents, parts, shapeJson, members: shape.kind === "members" };
}

function checkDocuments(
  documents: readonly ResidentDocument[],
  parts: readonly string[],
  known: { readonly sizes: PartSizes; readonly bounds: ResidentBounds; readonly limits: Limits },
): string | null {
  const { bounds, limits } = known;
  const ids = new Set<string>();
  let textBytes = 0;
  let heapBytes = 0;
  for (const document of documents) {
    const { id } = document;
    if (ids.has(id)) return `resident ${shown(id)}: the id stands twice`;
    if (id.length > MAX_NAME_CHARS) return `resident ${shown(id)}: the id is too long`;
    ids.add(id);
    for (const name of parts) {
      const size = sizeOf(document, name, known.sizes);
      if (size === null) return `resident ${shown(id)}: has no part ${shown(name)}`;
      if (size.depth > limits.inputDepth) {
        const nested = `nested ${size.depth} deep, at most ${limits.inputDepth} are allowed`;
        return `resident ${shown(id)}.${shown(name)}: ${nested}`;
      }
      textBytes += size.textBytes;
      heapBytes += size.heapBytes;
    }
  }
  return (
    checkTotal("bytes", textBytes, bounds.textBytes) ??
    checkTotal("bytes of interpreter memory", heapBytes, bounds.heapBytes)
  );
}

function sizeOf(document: ResidentDocument, name: string, sizes: PartSizes): PartSize | null {
  const part = Object.hasOwn(document.parts, name) ? document.parts[name] : undefined;
  return part === undefined ? null : sizes.about(part);
}

function checkTotal(what: string, total: number, bound: number): string | null {
  if (total <= bound) return null;
  return `resident: the documents need ${total} ${what}, at most ${bound} are allowed`;
}

function shown(name: string): string {
  return name.slice(0, SHOWN_CHARS);
}
