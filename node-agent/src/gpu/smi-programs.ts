import { mebibytesOf, pick, textOf, wholeOf } from "./smi-value.ts";
import { elementOf, parseXmlTree, textIn } from "./xml-tree.ts";

/** A program on a GPU. */
export interface LoggedProcess {
  readonly pid: number;
  /** At most 128 characters. */
  readonly name: string;
  readonly memoryUsedMib?: bigint;
  /** Berth instance that it belongs to; the log does not tell. */
  readonly instanceId?: string;
}

const ENTRY = "<process_info>";
const NAME = { from: "<process_name>", to: "</process_name>" } as const;
const MAX_NAME = 128;
/** A name in the log is longer than what it says by its references ("&quot;"). */
const MAX_RAW_NAME = 8 * MAX_NAME;

/**
 * Reads what the log tells of the programs of one GPU, at most `most` of them; entries without a pid are
 * left out. A name reaches to the last end tag of its entry, so that none ends early. What looks like an
 * entry is one: a name can add entries to the list of its own GPU.
 */
export function programsOf(text: string, most: number): LoggedProcess[] {
  const programs: LoggedProcess[] = [];
  for (const entry of text.split(ENTRY).slice(1)) {
    if (programs.length >= most) break;
    const program = programOf(entry);
    if (program !== undefined) programs.push(program);
  }
  return programs;
}

function programOf(entry: string): LoggedProcess | undefined {
  const nameAt = entry.indexOf(NAME.from);
  // The pid stands before the name, as in all versions of the document.
  const before = nameAt < 0 ? entry : entry.slice(0, nameAt);
  const pid = wholeOf(/<pid>([^<]{1,40})<\/pid>/.exec(before)?.[1]);
  if (pid === undefined) return undefined;
  const endAt = entry.lastIndexOf(NAME.to);
  const isNamed = nameAt >= 0 && endAt >= nameAt;
  const name = isNamed ? nameOf(entry.slice(nameAt + NAME.from.length, endAt)) : "";
  const rest = isNamed ? entry.slice(endAt + NAME.to.length) : before;
  const used = mebibytesOf(/<used_memory>([^<]{1,40})<\/used_memory>/.exec(rest)?.[1]);
  return { pid, name, ...pick("memoryUsedMib", used) };
}

function nameOf(raw: string): string {
  // Half of a pair would take the sign behind it along.
  const text = raw.slice(0, MAX_RAW_NAME).toWellFormed().replaceAll("<", "&lt;");
  const name = textOf(textIn(elementOf(parseXmlTree(`<r><n>${text}</n></r>`), "r"), "n")) ?? "";
  return name.slice(0, MAX_NAME).toWellFormed();
}
