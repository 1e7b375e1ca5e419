import { type FleetResource, type RowFilter, watchPath } from "../client/fleet-rows.ts";
import type { ApiServer } from "../client/http.ts";
import { type WatchTimes, watchRows } from "../client/row-watch.ts";
import type { CliContext } from "../context.ts";
import { RowStore } from "./row-store.ts";
import { ageText } from "./row-text.ts";
import { readKeys, scrolled } from "./top-keys.ts";
import { TopScreen } from "./top-screen.ts";
import { summaryOf } from "./top-summary.ts";
import { TopView } from "./top-view.ts";
import { stopOf, TRUNCATED, throwIfBroken } from "./watch-rows.ts";

/** What a live `berth top` shows. */
export interface LiveTop {
  readonly context: CliContext;
  readonly server: ApiServer;
  /** Rows of the table. */
  readonly table: FleetResource;
  /** Rows that the head is summed up from. */
  readonly head: FleetResource;
  readonly filter: RowFilter;
  readonly everyMs: number;
  readonly title: string;
  readonly styled: boolean;
  readonly times?: WatchTimes;
}

/**
 * Shows the fleet on the whole terminal, anew at each interval, until the user asks to stop. Gives the
 * terminal back in any case. Throws a CliError when a watch cannot begin or is refused for good.
 */
export async function runLiveTop(top: LiveTop): Promise<void> {
  const asked = stopOf(top.context);
  const end = new AbortController();
  const signal = AbortSignal.any([asked, end.signal]);
  const stage = new Stage(top, () => end.abort());
  try {
    await Promise.all(
      [...stage.sources].map(([resource, store]) => {
        return follow(top, { resource, store, signal, onNews: () => stage.onNews() }).finally(() =>
          end.abort(),
        );
      }),
    );
  } finally {
    end.abort();
    stage.close();
  }
  stage.throwIfFailed();
  throwIfBroken(asked);
}

interface Source {
  readonly store: RowStore;
  /** Why its watch was lost last. */
  why: string;
  hasRows: boolean;
}

async function follow(
  top: LiveTop,
  to: {
    readonly resource: FleetResource;
    readonly store: Source;
    readonly signal: AbortSignal;
    onNews(): void;
  },
): Promise<void> {
  const { resource, store: source, signal } = to;
  const path = watchPath(resource, top.filter, top.everyMs);
  for await (const news of watchRows(top.server, path, { signal, ...timesOf(top) })) {
    source.store.take(news, performance.now());
    if (news.kind === "lost") source.why = news.why;
    if (news.kind === "snapshot") source.hasRows = true;
    to.onNews();
  }
}

function timesOf({ times }: LiveTop): { times?: WatchTimes } {
  return times === undefined ? {} : { times };
}

/** Pause after a picture, in times of what it took to draw: at most a fifth of a core is used. */
const PAUSE_PER_WORK = 4;

/** The terminal, what is on it, and who listens to it. */
class Stage {
  readonly sources: ReadonlyMap<FleetResource, Source>;
  readonly #top: LiveTop;
  readonly #screen: TopScreen;
  readonly #view: TopView;
  readonly #quit: () => void;
  #from = 0;
  #room = 1;
  #failure: { readonly thrown: unknown } | undefined;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #release: (() => void)[] = [];

  constructor(top: LiveTop, quit: () => void) {
    this.#top = top;
    this.#quit = quit;
    this.#screen = new TopScreen(top.context.stdout, top.styled);
    this.#view = new TopView(top.table, top.title);
    this.sources = new Map(
      [...new Set([top.head, top.table])].map((resource) => [
        resource,
        { store: new RowStore(resource), why: "", hasRows: false },
      ]),
    );
  }

  /** The first rows of all sources open the screen; from then on it is drawn anew at each interval. */
  onNews(): void {
    const isReady = [...this.sources.values()].every((source) => source.hasRows);
    if (!isReady || this.#isClosed || this.#release.length > 0) return;
    const { context } = this.#top;
    this.#release = [
      () => clearTimeout(this.#timer),
      context.onResize(() => this.#safely(() => this.#draw())),
      context.onKeys((text) => this.#safely(() => this.#obey(text))),
    ];
    this.#screen.open();
    this.#safely(() => this.#draw());
  }

  /** Gives the terminal back for good: news may come late. */
  close(): void {
    this.#isClosed = true;
    for (const release of this.#release) release();
    this.#release = [];
    this.#screen.close();
  }

  /** Throws what went wrong between pictures. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.thrown;
  }

  /** An error in a callback would end the process with the terminal still taken: it ends the command. */
  #safely(act: () => void): void {
    try {
      act();
    } catch (thrown) {
      this.#failure ??= { thrown };
      this.#quit();
    }
  }

  #obey(text: string): void {
    for (const key of readKeys(text)) {
      if (key.kind === "quit") {
        this.#quit();
        return;
      }
      this.#from = scrolled(key, this.#from, this.#room);
    }
    this.#draw();
  }

  #draw(): void {
    const nowMs = performance.now();
    const { head, table } = this.#top;
    clearTimeout(this.#timer);
    const rows = this.sources.get(table)?.store.rows(nowMs) ?? [];
    const headRows = head === table ? rows : (this.sources.get(head)?.store.rows(nowMs) ?? []);
    const { lines, from, room } = this.#view.paint(
      { summary: summaryOf(head, headRows), rows, notices: this.#notices(nowMs) },
      { ...this.#screen.size, bars: true, from: this.#from },
    );
    this.#from = from;
    this.#room = room;
    this.#screen.show(lines);
    // A hundred thousand rows take a good part of a second: they are drawn less often.
    const pauseMs = Math.max(this.#top.everyMs, (performance.now() - nowMs) * PAUSE_PER_WORK);
    this.#timer = setTimeout(() => this.#safely(() => this.#draw()), pauseMs);
  }

  #notices(nowMs: number): readonly string[] {
    const notices = new Set<string>();
    for (const { store, why } of this.sources.values()) {
      if (store.isTruncated) notices.add(TRUNCATED);
      if (store.lostAtMs === undefined) continue;
      const age = ageText(nowMs - store.lostAtMs);
      notices.add(`NOT CONNECTED for ${age} (${why}): what is shown is from before`);
    }
    return [...notices];
  }
}
