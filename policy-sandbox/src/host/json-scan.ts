/** What a look at a JSON text tells without parsing it. */
export interface JsonScan {
  /** Deepest nesting of arrays and objects; 0 for a scalar. */
  readonly depth: number;
  /**
   * True when a number may not fit a double (an exponent of three digits or a run of 300 digits). Python
   * would read such a float as infinity, so that text is parsed with a check on every float.
   */
  readonly wideNumbers: boolean;
  readonly objects: number;
  readonly arrays: number;
  /** Commas and colons outside of strings. */
  readonly separators: number;
  readonly strings: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;
const COLON = 0x3a;
const DIGIT_ZERO = 0x30;
const DIGIT_NINE = 0x39;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const UPPER_E = 0x45;
const LOWER_E = 0x65;
const WIDE_EXPONENT = /^[+-]?\d{3,}/;
const WIDE_RUN = 300;
const INTEGER = /^[0-9]*$/;
// sys.get_int_max_str_digits() of CPython 3.13.
const MAX_INTEGER_DIGITS = 4_300;

/**
 * Measures a JSON text. Nothing is recursive, so no text can exhaust the stack; a text that is not JSON gets
 * some answer and is refused by the parser later.
 */
export function scanJson(text: string): JsonScan {
  const scan = new Scan();
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code >= DIGIT_ZERO && code <= DIGIT_NINE) {
      scan.run += 1;
      continue;
    }
    if (scan.run > 0) endNumber(scan, text, at);
    if (code === QUOTE) {
      scan.strings += 1;
      at = endOfString(text, at);
    } else scan.take(code);
  }
  if (scan.run > 0) endNumber(scan, text, text.length);
  const { deepest: depth, wideNumbers, objects, arrays, separators, strings } = scan;
  return { depth, wideNumbers, objects, arrays, separators, strings };
}

/**
 * Whether a JSON text holds a number that Python does not read: a float beyond every double, or an integer of more
 * digits than it converts. Also one that JavaScript does not see, because its key stands again later.
 */
export function hasUnreadableNumber(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code >= DIGIT_ZERO && code <= DIGIT_NINE) {
      const end = endOfToken(text, at);
      const token = text.slice(at, end);
      const readable = INTEGER.test(token)
        ? token.length <= MAX_INTEGER_DIGITS
        : Number.isFinite(Number(token));
      if (!readable) return true;
      at = end - 1;
    }
  }
  return false;
}

/** The index behind the last character that can belong to the number that begins at `start`. */
function endOfToken(text: string, start: number): number {
  let end = start;
  while (end < text.length && isInNumber(text.charCodeAt(end))) end += 1;
  return end;
}

function isInNumber(code: number): boolean {
  if (code >= DIGIT_ZERO && code <= DIGIT_NINE) return true;
  return code === POINT || code === PLUS || code === MINUS || code === LOWER_E || code === UPPER_E;
}

/** What has been counted so far. */
class Scan {
  depth = 0;
  deepest = 0;
  run = 0;
  wideNumbers = false;
  objects = 0;
  arrays = 0;
  separators = 0;
  strings = 0;

  /** A character that is neither a digit nor a quote. */
  take(code: number): void {
    if (code === COMMA || code === COLON) this.separators += 1;
    else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      this.depth += 1;
      if (this.depth > this.deepest) this.deepest = this.depth;
      if (code === OPEN_BRACE) this.objects += 1;
      else this.arrays += 1;
    } else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) this.depth -= 1;
  }
}

/** Looks at the run of digits that ends before `at`. */
function endNumber(scan: { run: number; wideNumbers: boolean }, text: string, at: number): void {
  const code = text.charCodeAt(at);
  const exponent = code === LOWER_E || code === UPPER_E;
  if (scan.run >= WIDE_RUN || (exponent && WIDE_EXPONENT.test(text.slice(at + 1, at + 6)))) {
    scan.wideNumbers = true;
  }
  scan.run = 0;
}

/** The index of the quote that closes the string opened at `start`, or the end of the text. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end === -1 ? text.length : end;
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes += 1;
  return backslashes % 2 === 1;
}
