/** One record of the kernel log. */
export interface KernelRecord {
  /** Number of the record in this boot; it rises, with gaps where records were lost. */
  readonly seq: number;
  /** Time since boot in microseconds. */
  readonly sinceBootUs: number;
  /** The message in one line: escapes undone, control characters replaced by spaces. */
  readonly text: string;
}

const MAX_TEXT = 1_024;
const RECORD = /^\d{1,10},(\d{1,15}),(\d{1,15}),[^;]{0,100};(.*)$/;

/**
 * Reads what one or more read() calls of /dev/kmsg gave ("prio,seq,usec,flags[,more];text", Linux
 * Documentation/ABI/testing/dev-kmsg). Lines of key=value pairs behind a record begin with a space and
 * are left out, and so is everything that is no record. Texts are cut at 1,024 characters. Never throws.
 */
export function parseKernelRecords(chunk: string): KernelRecord[] {
  return chunk.split("\n").flatMap((line) => parseLine(line) ?? []);
}

function parseLine(line: string): KernelRecord | undefined {
  const [, seq, sinceBoot, text] = RECORD.exec(line) ?? [];
  if (seq === undefined || sinceBoot === undefined || text === undefined) return undefined;
  return { seq: Number(seq), sinceBootUs: Number(sinceBoot), text: plain(text) };
}

/** The kernel writes every byte beyond printable ASCII, and the backslash, as \xNN. */
function plain(text: string): string {
  const cut = text.slice(0, MAX_TEXT);
  const bytes = cut.replace(/\\x([0-9a-f]{2})/gi, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const decoded = bytes === cut ? cut : Buffer.from(bytes, "latin1").toString("utf8");
  return decoded.replace(/\p{Cc}/gu, " ").trim();
}
