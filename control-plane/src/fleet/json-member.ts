const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
/** Square and curly brackets differ in this bit alone. */
const CURLY_BIT = 0x20;
const OPENING_CURLY = 0x7b;
const CLOSING_CURLY = 0x7d;

/** Where the value of a member stands in a text. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The text of a JSON object with another value of one of its members, or with the member added behind the
 * others. Everything else stays as it was written, numbers above all; the time is linear, and nothing is
 * parsed. A key that is there twice is changed twice.
 *
 * @param json a valid JSON object; what comes out of another text is not defined
 * @param valueJson the new value as JSON
 */
export function withMember(json: string, key: string, valueJson: string): string {
  const { spans, end, isEmpty } = membersOf(json, key);
  if (spans.length === 0) {
    const member = `${isEmpty ? "" : ","}${JSON.stringify(key)}:${valueJson}`;
    return json.slice(0, end) + member + json.slice(end);
  }
  let text = "";
  let from = 0;
  for (const span of spans) {
    text += json.slice(from, span.start) + valueJson;
    from = span.end;
  }
  return text + json.slice(from);
}

/** The values of a key among an object's own members, the place of its last brace, and whether it has none. */
function membersOf(json: string, key: string) {
  const spans: Span[] = [];
  let at = json.indexOf("{");
  let isEmpty = true;
  do {
    const quote = json.indexOf('"', at + 1);
    if (quote < 0) break;
    isEmpty = false;
    const name = { start: quote, end: endOfString(json, quote) };
    const start = json.indexOf(":", name.end) + 1;
    at = endOfValue(json, start);
    if (isKey(json, name, key)) spans.push({ start, end: at });
  } while (json.charCodeAt(at) === COMMA);
  return { spans, end: json.lastIndexOf("}"), isEmpty };
}

/** The place of the comma or the bracket behind a value. */
function endOfValue(json: string, start: number): number {
  let depth = 0;
  for (let at = start; at < json.length; at += 1) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(json, at) - 1;
    } else if ((code | CURLY_BIT) === OPENING_CURLY) {
      depth += 1;
    } else if (depth > 0 && (code | CURLY_BIT) === CLOSING_CURLY) {
      depth -= 1;
    } else if (depth === 0 && (code === COMMA || (code | CURLY_BIT) === CLOSING_CURLY)) {
      return at;
    }
  }
  return json.length;
}

function isKey(json: string, name: Span, key: string): boolean {
  return JSON.parse(json.slice(name.start, name.end)) === key;
}

/** The place behind the string that begins here. */
function endOfString(json: string, start: number): number {
  let quote = json.indexOf('"', start + 1);
  while (quote >= 0 && isEscaped(json, quote)) quote = json.indexOf('"', quote + 1);
  return quote < 0 ? json.length : quote + 1;
}

function isEscaped(json: string, quote: number): boolean {
  let before = quote;
  while (json.charCodeAt(before - 1) === BACKSLASH) before -= 1;
  return (quote - before) % 2 === 1;
}
