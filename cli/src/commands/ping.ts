import type { Command } from "commander";
import { usageError } from "../cli-error.ts";
import { requestData } from "../client/http.ts";
import { printable } from "../client/table.ts";
import { at } from "../cluster-view.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { cellText } from "./views.ts";

const HELP = `
The order is durable before it goes out, and the agent carries it out once: "runs" is 1 however often the
link broke or a program died on the way (try it: --hold 5 --within 60, and kill the agent meanwhile). An order that
reached the agent as it died may be refused instead: nobody knows then whether it ran, and it is not given again.
Commands without an answer: GET /commands?state=pending.`;

/** Time that the request itself may take beside the wait for the agent, ms. */
const REQUEST_MS = 5_000;

/** Adds `berth ping`. */
export function pingCommand(program: Command, parts: CommandParts): void {
  withServer(program.command("ping"))
    .description("ask a cluster's agent to answer")
    .argument("<cluster>", "id of the cluster")
    .option("--text <text>", "text to send back, at most 1 KiB", "ping")
    .option("--within <seconds>", "longest wait for the agent's answer, at most 600", "10")
    .option("--hold <seconds>", "time that the agent waits before it answers, at most 60", "0")
    .addHelpText("after", HELP)
    .action(async (cluster: string, options: ClientOptions & PingOptions) => {
      const timeoutMs = withinMs(options.within);
      const holdMs = heldMs(options.hold);
      const server = serverOf(options, parts.context);
      const data = await requestData(
        { ...server, timeoutMs: Math.max(server.timeoutMs, timeoutMs + REQUEST_MS) },
        {
          method: "POST",
          path: `/clusters/${encodeURIComponent(cluster)}/ping`,
          body: { text: options.text, timeout_ms: timeoutMs, hold_ms: holdMs },
        },
      );
      printData(parts, data, { form: options.output, view: (pong) => pongText(cluster, pong) });
    });
}

interface PingOptions {
  readonly text: string;
  readonly within: string;
  readonly hold: string;
}

/** Reads `--within`; throws a usage error for anything but 0.001 to 600 seconds. */
export function withinMs(text: string): number {
  const ms = Math.round(Number(text) * 1_000);
  if (text.trim() !== "" && ms >= 1 && ms <= 600_000) return ms;
  throw usageError(
    `--within ${JSON.stringify(text)}: expected seconds, more than 0 and at most 600`,
  );
}

/** Reads `--hold`; throws a usage error for anything but 0 to 60 seconds. */
export function heldMs(text: string): number {
  const ms = Math.round(Number(text) * 1_000);
  if (text.trim() !== "" && ms >= 0 && ms <= 60_000) return ms;
  throw usageError(`--hold ${JSON.stringify(text)}: expected seconds, 0 to 60`);
}

/** One line for people: who answered what, how fast, and how often the order was carried out. */
export function pongText(cluster: string, data: unknown): string {
  const result = at(data, "result");
  const text = JSON.stringify(at(result, "text") ?? "");
  const runs = cellText(at(result, "runs"));
  const time = cellText(at(data, "round_trip_ms"));
  const id = cellText(at(data, "command_id"));
  return `${printable(`${cluster} answered ${text} in ${time} ms (runs: ${runs}, command ${id})`)}\n`;
}
