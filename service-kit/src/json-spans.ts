const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPENING_CURLY = 0x7b;
const CLOSING_CURLY = 0x7d;
const SPACE = 0x20;
/** Square and curly brackets differ in this bit alone. */
const CURLY_BIT = 0x20;

/** Where a value stands in a JSON text: from its first character to the one behind its last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A text that takes the place of another one; an empty place is an insertion. */
export interface Splice extends Span {
  readonly text: string;
}

/** The whole of a text, which begins and ends with its value. */
export function wholeOf(text: string): Span {
  return { start: skipSpace(text, 0), end: text.trimEnd().length };
}

/** The items of an array. Like everything here for valid JSON only, and in linear time. */
export function itemsOf(text: string, array: Span): readonly Span[] {
  return childrenOf(text, array).map(({ value }) => value);
}

/** The value of a member of an object: of the last one of that key, as all who read it take. */
export function memberOf(text: string, object: Span, key: string): Span | undefined {
  const quoted = JSON.stringify(key);
  return childrenOf(text, object).findLast((child) => isKey(text, child.key, { key, quoted }))
    ?.value;
}

/** The value at the end of a path of keys. */
export function valueAt(text: string, path: readonly string[]): Span | undefined {
  let value: Span | undefined = wholeOf(text);
  for (const key of path) value = value && memberOf(text, value, key);
  return value;
}

/** Sets a member of an object: its value is replaced, or it is added behind the others. */
export function setMember(
  text: string,
  object: Span,
  [key, valueJson]: readonly [key: string, valueJson: string],
): Splice {
  const value = memberOf(text, object, key);
  if (value !== undefined) return { ...value, text: valueJson };
  const at = object.end - 1;
  const isEmpty = skipSpace(text, object.start + 1) === at;
  return { start: at, end: at, text: `${isEmpty ? "" : ","}${JSON.stringify(key)}:${valueJson}` };
}

/**
 * The text of a JSON object with another value of one of its members, or with the member added behind the
 * others. Everything else stays as it was written, numbers above all.
 */
export function withMember(text: string, key: string, valueJson: string): string {
  return spliced(text, [setMember(text, wholeOf(text), [key, valueJson])]);
}

/** The text with its splices made, which do not overlap; everything else stays as it is written. */
export function spliced(text: string, splices: readonly Splice[]): string {
  let result = "";
  let from = 0;
  for (const splice of splices.toSorted((one, other) => one.start - other.start)) {
    result += text.slice(from, splice.start) + splice.text;
    from = splice.end;
  }
  return result + text.slice(from);
}

interface Child {
  /** The key with its quotes; absent in an array. */
  readonly key: Span | undefined;
  readonly value: Span;
}

function childrenOf(text: string, parent: Span): readonly Child[] {
  const opening = text.charCodeAt(parent.start);
  if ((opening | CURLY_BIT) !== OPENING_CURLY) return [];
  const isObject = opening === OPENING_CURLY;
  const children: Child[] = [];
  const last = parent.end - 1;
  let at = skipSpace(text, parent.start + 1);
  while (at < last) {
    let key: Span | undefined;
    if (isObject) {
      key = { start: at, end: endOfString(text, at) };
      // Behind the key stands its colon.
      at = skipSpace(text, skipSpace(text, key.end) + 1);
    }
    const value = { start: at, end: endOfValue(text, at) };
    children.push({ key, value });
    at = skipSpace(text, value.end);
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
  }
  return children;
}

function isKey(
  text: string,
  span: Span | undefined,
  { key, quoted }: { readonly key: string; readonly quoted: string },
): boolean {
  if (span === undefined) return false;
  if (span.end - span.start === quoted.length && text.startsWith(quoted, span.start)) return true;
  const written = text.slice(span.start, span.end);
  return written.includes("\\") && JSON.parse(written) === key;
}

function endOfValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return endOfString(text, start);
  let at = start;
  if ((first | CURLY_BIT) !== OPENING_CURLY) {
    while (at < text.length && !endsScalar(text.charCodeAt(at))) at += 1;
    return at;
  }
  let depth = 0;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at) - 1;
    else if ((code | CURLY_BIT) === OPENING_CURLY) depth += 1;
    else if ((code | CURLY_BIT) === CLOSING_CURLY) depth -= 1;
    if (depth === 0) return at + 1;
  }
  return at;
}

function endsScalar(code: number): boolean {
  return code <= SPACE || code === COMMA || (code | CURLY_BIT) === CLOSING_CURLY;
}

/** The place behind the string that begins here; the end of a text in which it does not end. */
export function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (quote !== -1 && isEscaped(text, quote)) quote = text.indexOf('"', quote + 1);
  return quote === -1 ? text.length : quote + 1;
}

function isEscaped(text: string, quote: number): boolean {
  let before = quote - 1;
  while (text.charCodeAt(before) === BACKSLASH) before -= 1;
  return (quote - before) % 2 === 0;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (text.charCodeAt(at) <= SPACE) at += 1;
  return at;
}
