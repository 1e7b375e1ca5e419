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
  if (form === "json") return `${JSON.stringify(data, null, 2)}\n`;
  if (form === "yaml") return toYaml(data);
  const table = toTable(data);
  return typeof table === "string" ? table : renderTable(table);
}

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
    customTags: (tags) => [rawNumberTag, ...tags],
  });
  return document.toString({ lineWidth: 0 });
}
