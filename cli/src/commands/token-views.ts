import { printable, type Table } from "../client/table.ts";
import { at, numberAt, textAt } from "../cluster-view.ts";
import { cellText } from "./views.ts";

/** Whom a token is for. */
export type TokenSubject = "cluster" | "node";

/** What agents dial: who listens, by default where, what opens it, and what names it to the agent. */
const DIALLED = {
  cluster: {
    host: "control-plane",
    port: 7443,
    setting: "BERTH_AGENT_HOST",
    variable: "BERTH_CONTROL_PLANE_URL",
  },
  node: {
    host: "cluster-agent",
    port: 32_001,
    setting: "BERTH_NODE_HOST",
    variable: "BERTH_CLUSTER_AGENT_URL",
  },
} as const;

/** A new token's text alone, so that a script can take it. */
export function tokenText(data: unknown): string {
  return `${printable(textAt(data, "token") ?? "")}\n`;
}

/** What to do with a new token, for people. */
export function nextStep(data: unknown, subject: TokenSubject): string {
  const token = textAt(data, "token") ?? "";
  // The third part is the pin of the issuer's CA: it is there exactly when the port has TLS.
  const isTls = token.split(".").length > 2;
  const { host, port, setting, variable } = DIALLED[subject];
  const scheme = isTls ? "https" : "http";
  const lines = [
    "",
    `token ${cellText(at(data, "id"))} for ${holder(data, subject)}, until ${cellText(at(data, "expires_at"))}`,
    `Give it to the ${subject}-agent, in its environment:`,
    "  BERTH_ENROLMENT_TOKEN=<the token>",
    `  ${variable}=${scheme}://<${host}>:${numberAt(data, "agent_port") || port}`,
  ];
  if (!isTls) {
    lines.push(
      `Only agents on this machine can use it: ${setting} opens the port to others, with TLS.`,
    );
  }
  return lines.map((line) => `${printable(line)}\n`).join("");
}

/** Tokens, one per row. */
export function tokensView(data: unknown): Table {
  return {
    columns: ["TOKEN", "FOR", "USES", "EXPIRES", "LABEL"],
    rows: (Array.isArray(data) ? data : []).map((token) => [
      cellText(at(token, "id")),
      cellText(at(token, "cluster_id") ?? at(token, "node_id") ?? "any"),
      `${numberAt(token, "uses")}/${numberAt(token, "max_uses") || "any"}`,
      cellText(at(token, "expires_at")),
      cellText(at(token, "label")),
    ]),
  };
}

/** What a revocation gave. */
export function revokedView(data: unknown): string {
  return `revoked ${printable(cellText(at(data, "id")))}\n`;
}

function holder(data: unknown, subject: TokenSubject): string {
  const id = textAt(data, "cluster_id") ?? textAt(data, "node_id");
  if (id !== undefined) return `${subject} ${id}`;
  const uses = numberAt(data, "max_uses");
  if (uses === 1) return `the first ${subject} that uses it`;
  return `${uses === 0 ? "any number of" : uses} ${subject}s`;
}
