import { Document, type Scalar } from "yaml";
import { isRawNumber } from "../json.ts";
import { renderTable, type Table } from "./table.ts";

/** Forms of output, as `-o` takes them. */
export const OUTPUT_FORMS = ["table", "json", "yaml"] as const;

/** One of {@link OUTPUT_FORMS}. */
export type OutputForm = (typeof OUTPUT_FORMS)[number];

/**
 * Renders data for the terminal, ending with a line end. JSON and YAML carry all of it, numbers as
 * they were written; the table is `toTable`'s choice, or its own text.
 */
export function renderData(
  data: unknown,
  form: OutputForm,
  toTable: (data: unknown) => Table | string,
): string {
  if (form === "json") return `${jsonText(data, 2)}\n`;
  if (form === "yaml") return toYaml(data);
  const table = toTable(data);
  return typeof table === "string" ? table : renderTable(table);
}

/**
 * JSON for the terminal. What JSON leaves as it is and a terminal may obey (C1 controls, bidirectional
 * marks) is escaped: the data is the same.
 */
export function jsonText(data: unknown, indent?: number): string {
  // Outside its texts, and escaped in them already, JSON has no other control character than line ends.
  return JSON.stringify(data, null, indent).replace(OBEYED, (character) =>
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

const OBEYED = /[\u007f-\u009f]|\p{Cf}/gu;

/** Texts that a terminal may obey: always in quotes, so that they can be escaped. */
const obeyedTextTag = {
  tag: "tag:yaml.org,2002:str",
  default: true as const,
  identify: (value: unknown) => typeof value === "string" && value.search(OBEYED) >= 0,
  resolve: (text: string) => text,
  stringify: (item: Scalar) => jsonText(item.value),
};

const rawNumberTag = {
  tag: "tag:berth,2026:number",
  default: true as const,
  identify: isRawNumber,
  resolve: (text: string) => text,
  stringify: (item: Scalar) => (isRawNumber(item.value) ? item.value.rawJSON : String(item.value)),
};

function toYaml(data: unknown): string {
  const document = new Document(data, {
    compat: "yaml-1.1",
    customTags: (tags) => [rawNumberTag, obeyedTextTag, ...tags],
  });
  return document.toString({ lineWidth: 0 });
}
