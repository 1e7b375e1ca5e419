import type { Limits } from "../limits.ts";
import type { ResidentDocument, ResidentInput } from "../request.ts";
import type { UnfitResident } from "../sandbox-types.ts";
import { MAX_NAME_CHARS, type PartSizes, partsOf, type ResidentBounds } from "./resident-input.ts";

/** What is known of documents, and how much a worker may hold. */
export interface FitParts {
  readonly sizes: PartSizes;
  readonly bounds: ResidentBounds;
}

interface Need {
  readonly id: string;
  readonly textBytes: number;
  readonly heapBytes: number;
}

/** One document may take a quarter of a worker: four large ones still leave each other in place. */
const LARGEST_SHARE = 1 / 4;

/**
 * The documents that have to stay out so that no single one fails or slows down the evaluation of all: what the
 * interpreter could not read, what takes too much of a worker on its own, and, where the rest together is too much,
 * the largest of it.
 */
export function unfitDocuments(
  { shape, documents }: ResidentInput,
  limits: Limits,
  { sizes, bounds }: FitParts,
): UnfitResident[] {
  const parts = partsOf(shape);
  const most = {
    textBytes: Math.floor(bounds.textBytes * LARGEST_SHARE),
    heapBytes: Math.floor(bounds.heapBytes * LARGEST_SHARE),
  };
  const unfit: UnfitResident[] = [];
  const fit: Need[] = [];
  for (const document of documents) {
    const { id } = document;
    const need = needOf(document, parts, { sizes, most, limits });
    if (typeof need === "string") unfit.push({ id, message: need });
    else fit.push({ id, ...need });
  }
  return [...unfit, ...overflowOf(fit, bounds)];
}

/** What a document takes of a worker, or why it can have no place in one. */
function needOf(
  { id, parts }: ResidentDocument,
  names: readonly string[],
  by: { readonly sizes: PartSizes; readonly most: ResidentBounds; readonly limits: Limits },
): ResidentBounds | string {
  if (id.length > MAX_NAME_CHARS) return "the id is too long";
  let textBytes = 0;
  let heapBytes = 0;
  for (const name of names) {
    const part = parts[name];
    if (part === undefined) continue; // the caller's mistake, which evaluate names
    // A text has at least as many bytes as characters: the enormous ones need not be read to be refused.
    const { length } = (part.shapedLike ?? part).json;
    if (length > by.most.textBytes) return tooMuch(length, "bytes", by.most.textBytes);
    const size = by.sizes.about(part);
    if (size.depth > by.limits.inputDepth) {
      return `${name}: nested ${size.depth} deep, at most ${by.limits.inputDepth} are allowed`;
    }
    if (size.unreadable) return `${name}: a number is too large`;
    textBytes += size.textBytes;
    heapBytes += size.heapBytes;
  }
  if (textBytes > by.most.textBytes) return tooMuch(textBytes, "bytes", by.most.textBytes);
  if (heapBytes > by.most.heapBytes) {
    return tooMuch(heapBytes, "bytes of interpreter memory", by.most.heapBytes);
  }
  return { textBytes, heapBytes };
}

function tooMuch(needed: number, what: string, most: number): string {
  return `needs ${needed} ${what}, at most ${most} are allowed for one document`;
}

/** The largest documents, as many as have to go so that the others fit together. */
function overflowOf(needs: readonly Need[], bounds: ResidentBounds): UnfitResident[] {
  let textBytes = 0;
  let heapBytes = 0;
  for (const need of needs) {
    textBytes += need.textBytes;
    heapBytes += need.heapBytes;
  }
  const fits = () => textBytes <= bounds.textBytes && heapBytes <= bounds.heapBytes;
  if (fits()) return [];
  const unfit: UnfitResident[] = [];
  const shareOf = (need: Need) =>
    Math.max(need.textBytes / bounds.textBytes, need.heapBytes / bounds.heapBytes);
  for (const need of [...needs].sort((one, other) => shareOf(other) - shareOf(one))) {
    if (fits()) break;
    const tight = textBytes > bounds.textBytes;
    const [own, what, most] = tight
      ? [need.textBytes, "bytes", bounds.textBytes]
      : [need.heapBytes, "bytes of interpreter memory", bounds.heapBytes];
    const together = `and the documents together more than the ${most} that fit a worker`;
    unfit.push({ id: need.id, message: `needs ${own} ${what}, ${together}` });
    textBytes -= need.textBytes;
    heapBytes -= need.heapBytes;
  }
  return unfit;
}
