import type { FleetResource, FleetRow } from "../client/fleet-rows.ts";
import { bar, type Line, lineWidth, type Segment, type Style } from "../client/styled-text.ts";
import { coresText, memoryText, percentText, powerText } from "./row-text.ts";
import { byUse, type Share, type TopSummary } from "./top-summary.ts";
import { TopTable } from "./top-table.ts";

/** What one picture of `berth top` is made of. */
export interface TopPicture {
  readonly summary: TopSummary;
  /** Rows of the table, in any order. */
  readonly rows: readonly FleetRow[];
  /** What is to be known of the rows, such as that they are not of now. */
  readonly notices?: readonly string[];
}

/** What the picture is painted on. */
export interface TopSurface {
  /** Characters in a line. */
  readonly width: number;
  /** Lines; undefined for as many as it takes. */
  readonly height?: number;
  readonly bars: boolean;
  /** The first row that is shown, from 0; what goes too far is taken back. */
  readonly from?: number;
}

const METER_WIDTH = 20;
/** What the table has of a low terminal before the head has more than its title: heading, two rows, foot. */
const TABLE_HEIGHT = 4;

/** Paints one picture after the other: the fleet altogether, below it a table of the busiest rows. */
export class TopView {
  readonly #resource: FleetResource;
  readonly #title: string;
  readonly #table: TopTable;

  /** `title`: what is shown and from where, for the first line. */
  constructor(resource: FleetResource, title: string) {
    this.#resource = resource;
    this.#title = title;
    this.#table = new TopTable(resource);
  }

  /** The lines of a picture, the row that it begins with, and how many rows there is room for. */
  paint(
    picture: TopPicture,
    surface: TopSurface,
  ): { readonly lines: readonly Line[]; readonly from: number; readonly room: number } {
    const { height, width, bars } = surface;
    const whole = [...this.#head(picture, surface), []];
    const head = height === undefined ? whole : whole.slice(0, Math.max(1, height - TABLE_HEIGHT));
    const sorted = byUse(this.#resource, picture.rows);
    // The heading of the table and the line at the foot.
    const room = height === undefined ? sorted.length : Math.max(1, height - head.length - 2);
    const from = Math.max(0, Math.min(surface.from ?? 0, sorted.length - room));
    const shown = sorted.slice(from, from + room);
    const { heading, lines } = this.#table.render(shown, { bars, width });
    const body = [...head, heading, ...lines];
    if (height === undefined) return { lines: body, from, room };
    const blank = Array.from({ length: room - shown.length }, (): Line => []);
    return { lines: [...body, ...blank, foot(from, shown.length, sorted.length)], from, room };
  }

  #head({ summary, notices = [] }: TopPicture, { bars, width }: TopSurface): readonly Line[] {
    const simulated = { all: "  simulated", some: "  partly simulated", none: "" }[
      summary.simulated
    ];
    const lines: Line[] = [
      [
        { text: this.#title, style: "bold" },
        { text: simulated, style: "yellow" },
      ],
    ];
    for (const text of notices) lines.push([{ text, style: "red" }]);
    const power = summary.power === undefined ? [] : [powerText(summary.power)];
    lines.push([{ text: [...summary.counts, ...power].join("   ") }]);
    return [...lines, ...rowsThatFit(meters(summary, bars), width)];
  }
}

function meters(summary: TopSummary, bars: boolean): readonly Line[] {
  const { gpuUtilization, gpuMemory, cores, memory } = summary;
  const gpu = gpuUtilization === undefined ? undefined : gpuUtilization / 100;
  const all: readonly (readonly [string, string, number | undefined, Style])[] = [
    ["GPUs", percentText(gpuUtilization), gpu, "green"],
    ["GPU memory", memoryText(gpuMemory.used, gpuMemory.total), ratio(gpuMemory), "cyan"],
    ["cores", coresText(cores.used, cores.total), ratio(cores), "green"],
    ["memory", memoryText(memory.used, memory.total), ratio(memory), "cyan"],
  ];
  return all
    .filter(([, text]) => text !== "-")
    .map(([label, text, share, style]): Line => {
      const drawn: Line = bars ? [...bar(share, METER_WIDTH, style), { text: " " }] : [];
      return [{ text: `${label} `, style: "dim" }, ...drawn, { text: `${text}   ` }];
    });
}

/** Meters beside each other, as many in a line as there is room for. */
function rowsThatFit(meterLines: readonly Line[], width: number): readonly Line[] {
  const lines: Segment[][] = [];
  for (const meter of meterLines) {
    const last = lines.at(-1);
    if (last !== undefined && lineWidth(last) + lineWidth(meter) <= width) last.push(...meter);
    else lines.push([...meter]);
  }
  return lines;
}

function ratio({ used, total }: Share): number | undefined {
  return used === undefined || total === undefined || total <= 0 ? undefined : used / total;
}

function foot(from: number, shown: number, all: number): Line {
  const range = shown === 0 ? "nothing yet" : `${from + 1}-${from + shown} of ${all}`;
  return [{ text: `${range}   q quits, arrows and PgUp/PgDn scroll`, style: "dim" }];
}
