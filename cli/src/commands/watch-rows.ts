import { CliError, errorCodeOf } from "../cli-error.ts";
import { type FleetResource, type RowFilter, watchPath } from "../client/fleet-rows.ts";
import type { ApiServer } from "../client/http.ts";
import type { OutputForm } from "../client/output.ts";
import { type WatchTimes, watchRows } from "../client/row-watch.ts";
import { printable } from "../client/table.ts";
import type { CliContext } from "../context.ts";
import { RowStore } from "./row-store.ts";
import { WatchPrinter } from "./watch-printer.ts";

/** What {@link watchAndPrint} watches, and how it is printed. */
export interface PrintedWatch {
  readonly context: CliContext;
  readonly server: ApiServer;
  readonly resource: FleetResource;
  readonly filter: RowFilter;
  /** At most one change of a row in this time. */
  readonly everyMs: number;
  readonly form: OutputForm;
  /** Whether a row counts as changed when only what was measured of it differs. */
  readonly samples: boolean;
  readonly times?: WatchTimes;
}

/** What people are told when there are more rows than the server watches. */
export const TRUNCATED =
  "there are more rows than the control-plane watches, some are missing here: --cluster narrows";

/**
 * Prints a resource and then its changes until the user asks to stop or nobody reads any more. Lost
 * connections are told on standard error. Throws a CliError when the watch cannot begin.
 */
export async function watchAndPrint(watch: PrintedWatch): Promise<void> {
  const { context, resource, filter } = watch;
  const stop = stopOf(context);
  const store = new RowStore(resource);
  const printer = new WatchPrinter({ ...watch, state: filter.state });
  const path = watchPath(resource, filter, watch.everyMs);
  const options = { signal: stop, ...(watch.times && { times: watch.times }) };
  for await (const news of watchRows(watch.server, path, options)) {
    const before = { isLost: store.lostAtMs !== undefined, isTruncated: store.isTruncated };
    const changes = store.take(news, performance.now());
    if (news.kind === "lost") context.stderr.write(`${lostText(news)}\n`);
    else if (before.isLost) context.stderr.write("the watch works again\n");
    if (store.isTruncated && !before.isTruncated) context.stderr.write(`${TRUNCATED}\n`);
    const text = news.kind === "lost" ? "" : printer.print(changes);
    if (text !== "") context.stdout.write(text);
  }
  throwIfBroken(stop);
}

/** Aborted when the user asks to stop, or when the output takes no more; then its error is the reason. */
export function stopOf(context: CliContext): AbortSignal {
  const stop = new AbortController();
  context.onStopRequest(() => stop.abort());
  context.onOutputClosed((why) => stop.abort(why));
  return stop.signal;
}

/** Throws a CliError when a stop was no wish: the output failed, and not because its reader left. */
export function throwIfBroken(stop: AbortSignal): void {
  const code = errorCodeOf(stop.reason);
  if (!(stop.reason instanceof Error) || code === undefined || code === "EPIPE") return;
  throw new CliError(`standard output takes no more (${code})`);
}

/** One line about a lost watch. */
export function lostText(news: { readonly why: string; readonly retryMs: number }): string {
  const seconds = (news.retryMs / 1_000).toFixed(1);
  return printable(`the watch was lost (${news.why}): trying again in ${seconds} s`);
}
