import { once } from "node:events";
import process from "node:process";
import { WebSocket } from "ws";

/** What `idle-sockets-main.ts` is told. */
export interface IdleSocketsOptions {
  readonly url: string;
  readonly count: number;
}

/** What it tells. */
export interface IdleSocketsStatus {
  readonly open: number;
  /** Sockets that were refused or closed, by reason. */
  readonly lost: Readonly<Record<string, number>>;
}

/**
 * `node idle-sockets-main.ts '<IdleSocketsOptions as JSON>'`: opens WebSockets that say nothing (they do
 * answer pings), prints {@link IdleSocketsStatus} as one JSON line every half second, and ends when
 * standard input closes.
 */
const STATUS_INTERVAL_MS = 500;
/** Handshakes under way at once: fewer than the backlog of a listening port. */
const LANES = 100;

const options: IdleSocketsOptions = JSON.parse(process.argv[2] ?? "");
const lost: Record<string, number> = {};
let [open, begun] = [0, 0];
setInterval(() => console.log(JSON.stringify({ open, lost })), STATUS_INTERVAL_MS);
process.stdin.resume();
process.stdin.on("close", () => process.exit(0));
await Promise.all(Array.from({ length: LANES }, openLane));

async function openLane(): Promise<void> {
  while (begun < options.count) {
    begun += 1;
    const socket = new WebSocket(options.url, { perMessageDeflate: false });
    let opened = false;
    socket.on("open", () => {
      opened = true;
      open += 1;
    });
    socket.on("error", (error) => {
      lost[error.message] = (lost[error.message] ?? 0) + 1;
    });
    socket.on("close", (code) => {
      if (!opened) return;
      open -= 1;
      lost[`closed with ${code}`] = (lost[`closed with ${code}`] ?? 0) + 1;
    });
    await Promise.race([once(socket, "open"), once(socket, "close")]).catch(() => undefined);
  }
}
