/** What the log tells of one GPU, as text. */
export interface GpuSection {
  readonly uuid: string;
  /** From its opening tag to its first program: nothing in it comes from a program. */
  readonly values: string;
  /** What is told of its programs, their own words included. */
  readonly programs: string;
}

/** The log, cut where no text of a program can move a cut. */
export interface LogSections {
  /** Up to the first GPU. */
  readonly head: string;
  /** In the driver's order, each UUID once. */
  readonly gpus: readonly GpuSection[];
  /** Why some GPUs, or all, are left out; undefined when none is. */
  readonly doubt?: string;
}

const END = "</nvidia_smi_log>";
const GPU_START = '<gpu id="';
const PROGRAMS_START = "<process";
const UUID = /<uuid>\s{0,9}(GPU-[0-9a-fA-F-]{8,64})\s{0,9}<\/uuid>/;
const MAX_GPUS = 64;
/** Longest text of either that is read; the clocks that a GPU supports make up to 200,000 characters. */
const MAX_HEAD = 65_536;
const MAX_VALUES = 524_288;

/**
 * Cuts the text of `nvidia-smi -q -x` into its GPUs; undefined when there is no whole document. Linear
 * in the length of the text.
 *
 * The driver escapes nothing, and a program may be called anything: with tags and line ends in its name
 * it can print, behind its own GPU's values, whatever the driver could print there. So tags are not
 * matched with each other over the document. Every opening tag of a GPU begins one, wherever it stands,
 * so that no name can hide one; a GPU's values end at its first program, so that no name can change them;
 * and a GPU that is told of twice is told of by a name as well, nobody knows where: it is left out.
 */
export function cutLog(text: string): LogSections | undefined {
  const from = text.search(/<\?xml|<nvidia_smi_log/);
  const to = text.lastIndexOf(END);
  // A document that broke off may hold the end tag in a name.
  if (from < 0 || to < from || text.includes("<", to + END.length)) return undefined;
  const [head = "", ...pieces] = text.slice(from, to).split(GPU_START);
  if (head.length > MAX_HEAD) return undefined;
  const sections = sectionsOf(pieces);
  const times = new Map<string, number>();
  for (const { uuid } of sections) times.set(uuid, (times.get(uuid) ?? 0) + 1);
  if (times.size > MAX_GPUS) {
    return { head, gpus: [], doubt: `more than ${MAX_GPUS} GPUs are told of, ${IMITATED}` };
  }
  const gpus = sections.filter(({ uuid }) => times.get(uuid) === 1);
  const twice = times.size - gpus.length;
  if (twice === 0) return { head, gpus };
  const what = twice === 1 ? "1 GPU is" : `${twice} GPUs are`;
  return { head, gpus, doubt: `${what} told of more than once, ${IMITATED}` };
}

const IMITATED = "as when a program's name imitates the log; nothing is read of them";

function sectionsOf(pieces: readonly string[]): GpuSection[] {
  const sections: { uuid: string; values: string; programs: string[] }[] = [];
  for (const piece of pieces) {
    const at = piece.indexOf(PROGRAMS_START);
    const values = at < 0 ? piece : piece.slice(0, at);
    const uuid = values.length > MAX_VALUES ? undefined : UUID.exec(values)?.[1];
    // Without a UUID it is none, but may hold programs of the GPU in which it stands.
    if (uuid === undefined) sections.at(-1)?.programs.push(GPU_START, piece);
    else
      sections.push({ uuid, values: GPU_START + values, programs: [piece.slice(values.length)] });
  }
  return sections.map((section) => ({ ...section, programs: section.programs.join("") }));
}
