import {
  BerthError,
  backoffMs,
  boundedText,
  type Clock,
  type Logger,
  type Part,
  sleep,
} from "@berth/service-kit";
import { WebSocket } from "ws";
import { type ReportSource, reportData, type TakenReport } from "./taken-report.ts";

/** Reports that this program makes itself: each is made when it is taken. */
export function ownReports(report: { text(): Promise<string> }): ReportSource {
  return { take: async () => ({ dataJson: reportData(await report.text()), ageMs: 0 }) };
}

/** What {@link FeedReports} is told. */
export interface FeedReportsOptions {
  /** `ws://` or `wss://`: a metrics feed of the seed, with its query. */
  readonly url: string;
  readonly clock: Pick<Clock, "nowMs" | "timestamp">;
  readonly logger: Logger;
}

const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const CONNECT_MS = 10_000;
const FETCH_MS = 10_000;
const BACKOFF = { firstMs: 500, capMs: 30_000 };
/** How often a feed can be asked to send, and how often it does where it was not asked. */
const FEED_INTERVAL_SECONDS = { least: 1, most: 3_600, byDefault: 30 } as const;
const GRACE_MS = 5_000;
/** The seed's port of the feed, and that of its REST. */
const FEED_PORT = "8765";
const REST_PORT = "8000";

/**
 * Reports of another control-plane, or of what speaks the seed's protocol: the newest frame of its feed. When none came for two intervals,
 * `GET /metrics/report` of the same host is asked, at port 8000 where the feed is on 8765, and at the feed's own port otherwise.
 */
export class FeedReports implements ReportSource, Part {
  readonly name = "metrics feed";
  readonly #options: FeedReportsOptions;
  readonly #stop = new AbortController();
  readonly #freshMs: number;
  readonly #restUrl: URL;
  #newest: { readonly dataJson: string; readonly atMs: number } | undefined;
  #following: Promise<void> = Promise.resolve();

  constructor(options: FeedReportsOptions) {
    this.#options = options;
    const url = feedUrl(options.url);
    this.#freshMs = 2_000 * intervalOf(url) + GRACE_MS;
    this.#restUrl = restUrlOf(url);
  }

  async start(): Promise<void> {
    this.#following = this.#follow();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  /** The newest frame while it is fresh, else what REST answers, else the newest frame of all with its age. */
  async take(signal: AbortSignal): Promise<TakenReport> {
    const frame = this.#taken();
    if (frame !== undefined && frame.ageMs <= this.#freshMs) return frame;
    try {
      const dataJson = reportData(await this.#fetch(signal));
      return { dataJson, ageMs: this.#ageAtArrival(dataJson) };
    } catch (cause) {
      const last = this.#taken();
      if (last !== undefined) return last;
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `no report came over BERTH_METRICS_URL, and its REST does not answer: ${why}`;
      throw new BerthError("UNAVAILABLE", message, { cause });
    }
  }

  #taken(): TakenReport | undefined {
    if (this.#newest === undefined) return undefined;
    const { dataJson, atMs } = this.#newest;
    return { dataJson, ageMs: this.#options.clock.nowMs() - atMs };
  }

  /** What was made long before it came is as old as it says; clocks that go ahead of ours make nothing younger. */
  #ageAtArrival(dataJson: string): number {
    const { generated_at: at } = JSON.parse(dataJson) as { readonly generated_at?: unknown };
    const madeMs = typeof at === "string" ? Date.parse(at) : Number.NaN;
    const ageMs = Date.parse(this.#options.clock.timestamp()) - madeMs;
    return Number.isFinite(ageMs) ? Math.max(0, ageMs) : 0;
  }

  async #fetch(signal: AbortSignal): Promise<string> {
    const limits = [signal, this.#stop.signal, AbortSignal.timeout(FETCH_MS)];
    const response = await fetch(this.#restUrl, { signal: AbortSignal.any(limits) });
    if (!response.ok) throw new Error(`${this.#restUrl.host} answers ${response.status}`);
    const { text, isWhole } = await boundedText(response, MAX_FRAME_BYTES);
    if (!isWhole) throw new Error(`expected at most ${MAX_FRAME_BYTES} bytes`);
    return text;
  }

  async #follow(): Promise<void> {
    const { logger } = this.#options;
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      const { frames, why } = await this.#connection();
      if (this.#stop.signal.aborted) return;
      failures = frames > 0 ? 0 : failures + 1;
      if (failures <= 1) logger.warn("the metrics feed is away", { host: this.#restUrl.host, why });
      await sleep(backoffMs(Math.max(1, failures), BACKOFF), this.#stop.signal);
    }
  }

  /** One connection, until it ends. Never rejects. */
  #connection(): Promise<{ readonly frames: number; readonly why: string }> {
    const { url } = this.#options;
    const socket = new WebSocket(url, {
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: CONNECT_MS,
    });
    const onStop = () => socket.terminate();
    this.#stop.signal.addEventListener("abort", onStop, { once: true });
    return new Promise((resolve) => {
      let frames = 0;
      let why = "it was closed";
      let silence = setTimeout(() => socket.terminate(), CONNECT_MS + this.#freshMs);
      socket.on("message", (frame) => {
        clearTimeout(silence);
        // A peer that went away without a word is left as well.
        silence = setTimeout(() => socket.terminate(), this.#freshMs);
        try {
          const dataJson = reportData(String(frame));
          const atMs = this.#options.clock.nowMs() - this.#ageAtArrival(dataJson);
          this.#newest = { dataJson, atMs };
          frames += 1;
        } catch (thrown) {
          why = thrown instanceof Error ? thrown.message : String(thrown);
        }
      });
      socket.on("error", (err) => {
        why = err.message;
      });
      socket.on("close", () => {
        clearTimeout(silence);
        this.#stop.signal.removeEventListener("abort", onStop);
        resolve({ frames, why });
      });
    });
  }
}

/** The URL of a feed; INVALID_ARGUMENT names the setting. */
function feedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "ws:" || url?.protocol === "wss:") return url;
  throw new BerthError("INVALID_ARGUMENT", "BERTH_METRICS_URL: expected ws://… or wss://…");
}

/** Seconds between two frames of a feed, by its URL. INVALID_ARGUMENT names the setting. */
function intervalOf({ searchParams }: URL): number {
  const { least, most, byDefault } = FEED_INTERVAL_SECONDS;
  const text = searchParams.get("interval") || String(byDefault);
  const seconds = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= least && seconds <= most) return seconds;
  const message = `BERTH_METRICS_URL: expected an interval of ${least} to ${most} seconds, got ${JSON.stringify(text.slice(0, 100))}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function restUrlOf(feed: URL): URL {
  const url = new URL("/metrics/report", feed);
  url.protocol = feed.protocol === "wss:" ? "https:" : "http:";
  if (feed.port === FEED_PORT) url.port = REST_PORT;
  return url;
}
