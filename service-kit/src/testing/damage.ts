import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";

const SQLITE_PAGE_BYTES = 4_096;

/** Overwrites the page of a closed SQLite file that a text lies on; throws when it is nowhere. */
export function destroyPageOf(file: string, text: string): void {
  const at = readFileSync(file).indexOf(text);
  if (at < 0) throw new Error(`${file} does not hold ${text}`);
  const page = Buffer.alloc(SQLITE_PAGE_BYTES, 0xa5);
  const handle = openSync(file, "r+");
  writeSync(handle, page, 0, page.length, at - (at % SQLITE_PAGE_BYTES));
  closeSync(handle);
}

/** Overwrites each of a text's places in a file by another text of its length; throws when there is none. */
export function replaceText(file: string, text: string, by: string): void {
  const bytes = readFileSync(file);
  if (!bytes.includes(text)) throw new Error(`${file} does not hold ${text}`);
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) bytes.write(by, at);
  writeFileSync(file, bytes);
}
