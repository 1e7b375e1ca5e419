import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyText } from "../testing/any-text.ts";
import { elementOf, elementsOf, parseXmlTree, textIn } from "./xml-tree.ts";

const names = (text: string) => {
  const root = elementOf(parseXmlTree(text), "r");
  return elementsOf(root, "n").map((element) => element.text);
};

it("keeps elements by name, in their order, with their own text", () => {
  const root = elementOf(
    parseXmlTree('<?xml version="1.0" ?><r a="1"><n> one </n><n>2</n></r>'),
    "r",
  );
  expect(elementsOf(root, "n").map((element) => element.text)).toEqual([" one ", "2"]);
  expect(textIn(root, "n")).toBe("one");
  expect(textIn(root, "missing")).toBeUndefined();
  expect(elementOf(root, "constructor")).toBeUndefined();
});

it("takes no text of an element that holds others", () => {
  const tree = parseXmlTree("<r>None<n>1</n></r>");
  expect(textIn(tree, "r")).toBeUndefined();
});

describe("names of programs as nvidia-smi prints them, unescaped", () => {
  it.each([
    ["<r><n>a &amp; b &lt; c</n></r>", ["a & b < c"]],
    ["<r><n>a & b</n><n>next</n></r>", ["a & b", "next"]],
    ["<r><n>--x=&nbsp;&y;</n><n>next</n></r>", ["--x=&nbsp;&y;", "next"]],
    ["<r><n>bell \u0007 here</n><n>next</n></r>", ["bell \u0007 here", "next"]],
    ["<r><n>]]></n><n>next</n></r>", ["]]>", "next"]],
  ])("reads %j", (text, expected) => {
    expect(names(text)).toEqual(expected);
  });

  it("loses no more than the element in which a tag is opened and not closed", () => {
    expect(names("<r><n>a <b</n><n>next</n></r>").length).toBeGreaterThanOrEqual(1);
    expect(names("<r><n>a < b</n><n>next</n></r>").at(-1)).toBeDefined();
  });
});

it("expands no entities of a document type, whatever they are", () => {
  const bomb =
    '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "file:///etc/hosts">]>';
  expect(names(`${bomb}<r><n>&b;</n><n>&c;</n></r>`)).toEqual(["&b;", "&c;"]);
});

it("reads nothing from elements that lie too deep in each other", () => {
  expect(parseXmlTree(`${"<a>".repeat(31)}${"</a>".repeat(31)}`)).toBeDefined();
  expect(parseXmlTree("<a>".repeat(100_000))).toBeUndefined();
});

it("never throws", () => {
  const pieces = fc.constantFrom(
    "<",
    ">",
    "/",
    "r",
    "&",
    ";",
    "]]>",
    "<!--",
    "<!DOCTYPE",
    "<?",
    '"',
    "=",
    " ",
  );
  fc.assert(
    fc.property(fc.oneof(anyText(300), fc.string({ unit: pieces })), (text) => {
      parseXmlTree(text);
      parseXmlTree(`<r>${text}</r>`);
    }),
  );
});
