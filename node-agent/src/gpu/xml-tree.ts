import { SaxesParser } from "saxes";

/** An element: its own text and the elements in it. Attributes are left out. */
export interface XmlElement {
  readonly children: Map<string, XmlElement[]>;
  text: string;
}

/** Deepest nesting that is kept; the log of nvidia-smi goes down to eight. */
const MAX_DEPTH = 32;
/** An ampersand that begins none of the references that XML itself knows. */
const LONE_AMPERSAND = /&(?!(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)/g;

/**
 * Reads an XML document into its root element's parent. As lenient as can be, because nvidia-smi prints
 * names of programs as they are: what is not well-formed is taken as text or passed over, references to
 * entities of a document type are text. Undefined when elements lie too deep in each other. Never throws.
 */
export function parseXmlTree(text: string): XmlElement | undefined {
  const root = emptyElement();
  const open = [root];
  const parser = new SaxesParser();
  // Without a handler the parser throws at the first thing that is not well-formed.
  parser.on("error", () => undefined);
  parser.on("opentag", ({ name }) => {
    if (open.length > MAX_DEPTH) throw new Error("elements lie too deep in each other");
    const parent = open.at(-1) ?? root;
    const element = emptyElement();
    const named = parent.children.get(name);
    if (named === undefined) parent.children.set(name, [element]);
    else named.push(element);
    open.push(element);
  });
  parser.on("text", (piece) => {
    const element = open.at(-1);
    if (element !== undefined) element.text += piece;
  });
  parser.on("closetag", () => {
    if (open.length > 1) open.pop();
  });
  try {
    parser.write(text.replace(LONE_AMPERSAND, "&amp;")).close();
    return root;
  } catch {
    return undefined; // too deep, or beyond what the parser recovers from
  }
}

/** The first element of this name in `parent`. */
export function elementOf(parent: XmlElement | undefined, name: string): XmlElement | undefined {
  return parent?.children.get(name)?.[0];
}

/** All elements of this name in `parent`. */
export function elementsOf(parent: XmlElement | undefined, name: string): readonly XmlElement[] {
  return parent?.children.get(name) ?? [];
}

/** Text of the first element of this name in `parent`, if it holds nothing but text. */
export function textIn(parent: XmlElement | undefined, name: string): string | undefined {
  const element = elementOf(parent, name);
  return element === undefined || element.children.size > 0 ? undefined : element.text.trim();
}

function emptyElement(): XmlElement {
  return { children: new Map(), text: "" };
}
