import { endOfString } from "./json-spans.ts";

/** A number kept as its source text, as `JSON.rawJSON` makes it. `JSON.stringify` writes the text back. */
export interface RawNumber {
  readonly rawJSON: string;
}

interface RawJson {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
}

const { rawJSON, isRawJSON } = JSON as unknown as RawJson;

const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const POINT = 0x2e;
const DIGIT_ZERO = 0x30;
const DIGIT_NINE = 0x39;
const LOWER_E = 0x65;
const CLOSING_SQUARE = 0x5d;
const CLOSING_CURLY = 0x7d;
/** Capital letters differ from small ones in this bit alone. */
const CASE_BIT = 0x20;

/**
 * Parses JSON text so that `JSON.stringify` gives back every number as it was written: 10.0 stays a
 * float and integers beyond 2^53 stay exact. A number that JavaScript writes the same way is a plain
 * number; any other is a {@link RawNumber}. Throws SyntaxError as JSON.parse does, and RangeError for
 * text that is nested thousands of levels deep. A reviver would do, in three times the time.
 */
export function parseLossless(text: string): unknown {
  // What is no JSON ends here; the reader takes what is.
  JSON.parse(text);
  return new Reader(text).value();
}

/** Whether a value is a number kept as source text. */
export function isRawNumber(value: unknown): value is RawNumber {
  return isRawJSON(value);
}

/** Reads valid JSON. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): unknown {
    switch (this.#next()) {
      case 0x7b:
        return this.#object();
      case 0x5b:
        return this.#array();
      case QUOTE:
        return this.#string();
      case 0x74:
        return this.#literal(true, 4);
      case 0x66:
        return this.#literal(false, 5);
      case 0x6e:
        return this.#literal(null, 4);
      default:
        return this.#number();
    }
  }

  #object(): Record<string, unknown> {
    const members: Record<string, unknown> = {};
    this.#at += 1;
    while (this.#next() !== CLOSING_CURLY) {
      const key = this.#string();
      // Behind the key stands its colon.
      this.#next();
      this.#at += 1;
      const value = this.value();
      if (key === "__proto__") define(members, key, value);
      else members[key] = value;
      this.#skipComma();
    }
    this.#at += 1;
    return members;
  }

  #array(): unknown[] {
    const items: unknown[] = [];
    this.#at += 1;
    while (this.#next() !== CLOSING_SQUARE) {
      items.push(this.value());
      this.#skipComma();
    }
    this.#at += 1;
    return items;
  }

  #string(): string {
    const start = this.#at;
    this.#at = endOfString(this.#text, start);
    const inner = this.#text.slice(start + 1, this.#at - 1);
    return inner.includes("\\") ? JSON.parse(this.#text.slice(start, this.#at)) : inner;
  }

  #number(): number | RawNumber {
    const start = this.#at;
    while (isInNumber(this.#text.charCodeAt(this.#at))) this.#at += 1;
    const source = this.#text.slice(start, this.#at);
    const number = Number(source);
    return String(number) === source ? number : rawJSON(source);
  }

  #literal<T>(value: T, length: number): T {
    this.#at += length;
    return value;
  }

  #skipComma(): void {
    if (this.#next() === COMMA) this.#at += 1;
  }

  /** The next character that is no space. */
  #next(): number {
    let code = this.#text.charCodeAt(this.#at);
    while (code <= SPACE) {
      this.#at += 1;
      code = this.#text.charCodeAt(this.#at);
    }
    return code;
  }
}

function isInNumber(code: number): boolean {
  if (code >= DIGIT_ZERO && code <= DIGIT_NINE) return true;
  // A minus stands between a plus and a point, with a comma that ends a number.
  return (code >= PLUS && code <= POINT && code !== COMMA) || (code | CASE_BIT) === LOWER_E;
}

/** Assigning would set the prototype. */
function define(members: object, key: string, value: unknown): void {
  Object.defineProperty(members, key, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  });
}
