/**
 * The worker's wire format, on any byte stream: a frame is
 * `u32 LE body length | u32 LE header length | header (UTF-8 JSON object) | payload sections`.
 * `header.sections` lists the byte lengths of the sections, so that big JSON texts travel as they are.
 */
export interface Frame {
  readonly header: Readonly<Record<string, unknown>>;
  readonly sections: readonly Uint8Array[];
}

/** A peer that broke the format. The stream cannot be used any more. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** Bytes of the length that precedes every frame. */
export const FRAME_PREFIX_BYTES = 4;
const HEADER_PREFIX_BYTES = 4;
const MAX_HEADER_BYTES = 256 * 1024;
const MAX_SECTIONS = 16;
// Up to here one write of one chunk costs less than the copy that it takes.
const JOINED_BYTES = 64 * 1024;
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** The chunks to write for one frame, in order; the sections of a large frame are not copied. */
export function encodeFrame(
  header: Readonly<Record<string, unknown>>,
  sections: readonly Uint8Array[] = [],
): Uint8Array[] {
  const lengths = sections.map((section) => section.byteLength);
  const text = Buffer.from(JSON.stringify({ ...header, sections: lengths }), "utf8");
  if (text.byteLength > MAX_HEADER_BYTES) throw new FrameError("frame header too large");
  const total = lengths.reduce(
    (sum, length) => sum + length,
    HEADER_PREFIX_BYTES + text.byteLength,
  );
  const headBytes = FRAME_PREFIX_BYTES + HEADER_PREFIX_BYTES + text.byteLength;
  const joined = total <= JOINED_BYTES;
  const head = Buffer.allocUnsafe(joined ? FRAME_PREFIX_BYTES + total : headBytes);
  head.writeUInt32LE(total, 0);
  head.writeUInt32LE(text.byteLength, FRAME_PREFIX_BYTES);
  text.copy(head, FRAME_PREFIX_BYTES + HEADER_PREFIX_BYTES);
  if (!joined) return [head, ...sections];
  let at = headBytes;
  for (const section of sections) {
    head.set(section, at);
    at += section.byteLength;
  }
  return [head];
}

/** The body length that a frame's first four bytes announce; throws `FrameError` above `maxBytes`. */
export function readBodyLength(prefix: Uint8Array, maxBytes: number): number {
  const length = viewOf(prefix).getUint32(0, true);
  if (length < HEADER_PREFIX_BYTES || length > maxBytes) {
    throw new FrameError(`frame of ${length} bytes, expected 4 to ${maxBytes}`);
  }
  return length;
}

/** Takes one frame's body apart; throws `FrameError` when the body is not what it says. */
export function decodeBody(body: Uint8Array): Frame {
  const headerLength = viewOf(body).getUint32(0, true);
  const headerEnd = HEADER_PREFIX_BYTES + headerLength;
  if (headerLength > MAX_HEADER_BYTES || headerEnd > body.byteLength) {
    throw new FrameError(`frame header of ${headerLength} bytes does not fit`);
  }
  const header = parseHeader(body.subarray(HEADER_PREFIX_BYTES, headerEnd));
  const sections: Uint8Array[] = [];
  let at = headerEnd;
  for (const length of sectionLengths(header)) {
    sections.push(body.subarray(at, at + length));
    at += length;
  }
  if (at !== body.byteLength) throw new FrameError("frame sections do not add up");
  return { header, sections };
}

/** Cuts a stream of chunks into frames; holds at most one frame of `maxBytes` plus one chunk. */
export class FrameReader {
  /** The largest frame that is accepted from now on. */
  maxBytes: number;
  #chunks: Uint8Array[] = [];
  #buffered = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** The frames that `chunk` completes; throws `FrameError` when the stream is broken. */
  push(chunk: Uint8Array): Frame[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.byteLength;
    const frames: Frame[] = [];
    for (let frame = this.#next(); frame !== null; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Frame | null {
    if (this.#buffered < FRAME_PREFIX_BYTES) return null;
    const length = readBodyLength(this.#peek(FRAME_PREFIX_BYTES), this.maxBytes);
    const end = FRAME_PREFIX_BYTES + length;
    if (this.#buffered < end) return null;
    const bytes = this.#peek(end);
    const rest = bytes.subarray(end);
    this.#chunks = rest.byteLength > 0 ? [rest] : [];
    this.#buffered = rest.byteLength;
    return decodeBody(bytes.subarray(FRAME_PREFIX_BYTES, end));
  }

  /** The first chunk, made at least `count` bytes long. */
  #peek(count: number): Uint8Array {
    const first = this.#chunks[0];
    if (first !== undefined && first.byteLength >= count) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(bytes));
  } catch {
    throw new FrameError("frame header is not UTF-8 JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FrameError("frame header is not a JSON object");
  }
  return value as Record<string, unknown>;
}

function sectionLengths(header: Readonly<Record<string, unknown>>): number[] {
  const lengths: unknown = header.sections;
  if (!Array.isArray(lengths) || lengths.length > MAX_SECTIONS) {
    throw new FrameError("frame sections are not a short list");
  }
  return lengths.map((length: unknown) => {
    if (typeof length === "number" && Number.isSafeInteger(length) && length >= 0) return length;
    throw new FrameError("frame section length is not a whole number");
  });
}
