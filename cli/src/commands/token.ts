import type { Command } from "commander";
import { type ApiServer, requestData } from "../client/http.ts";
import {
  agentOf,
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withAgent,
  withServer,
} from "./command-parts.ts";
import { type TokenFlags, tokenBody } from "./token-request.ts";
import { nextStep, revokedView, tokensView, tokenText } from "./token-views.ts";

const HELP = `
The token is on standard output, what to do with it on standard error. It is shown once: only its
hash is kept. With --node the token is for a node-agent and is made by its cluster-agent.

Examples:
  berth token create --cluster berlin
  berth token create --node --uses 16 --ttl 1h --agent http://127.0.0.1:32000`;

/** Options of every `berth token` command. */
interface TokenOptions extends ClientOptions {
  readonly agent?: string;
  /** An id only with `create`. */
  readonly node?: string | true;
}

/** Adds `berth token create|list|revoke`. */
export function tokenCommand(program: Command, parts: CommandParts): void {
  const token = program.command("token").description("make and revoke enrolment tokens of agents");
  createCommand(token, parts);
  withAgent(withServer(token.command("list")))
    .description("list the tokens, without their secrets")
    .option("--node", "tokens of node-agents, kept by the cluster-agent")
    .action(async (options: TokenOptions) => {
      const server = issuerOf(options, parts);
      const data = await requestData(server, { method: "GET", path: "/tokens" });
      printData(parts, data, { form: options.output, view: tokensView });
    });
  withAgent(withServer(token.command("revoke <id>")))
    .description("revoke a token; agents that have enrolled with it keep their keys")
    .option("--node", "a token of node-agents, kept by the cluster-agent")
    .action(async (id: string, options: TokenOptions) => {
      const server = issuerOf(options, parts);
      const path = `/tokens/${encodeURIComponent(id)}`;
      const data = await requestData(server, { method: "DELETE", path });
      printData(parts, data, { form: options.output, view: revokedView });
    });
}

function createCommand(token: Command, parts: CommandParts): void {
  withAgent(withServer(token.command("create")))
    .description("make a token with which an agent enrols")
    .option("--cluster <id>", "cluster that it is for (default: the first that uses it)")
    .option("--node [id]", "for a node-agent instead, of this node or the first that uses it")
    .option("--ttl <time>", "how long it can be used: 90s, 30m, 24h, 7d (at most 90d)", "24h")
    .option("--uses <count>", "agents that may enrol with it, 0 = any number", "1")
    .option("--label <text>", "a note for the list")
    .addHelpText("after", HELP)
    .action(async (options: TokenOptions & TokenFlags) => {
      const body = tokenBody(options);
      const server = issuerOf(options, parts);
      const data = await requestData(server, { method: "POST", path: "/tokens", body });
      printData(parts, data, { form: options.output, view: tokenText });
      if (options.output !== "table") return;
      parts.context.stderr.write(nextStep(data, options.node === undefined ? "cluster" : "node"));
    });
}

/** Who keeps the tokens: the control-plane those of clusters, a cluster-agent those of its nodes. */
function issuerOf(options: TokenOptions, { context }: CommandParts): ApiServer {
  return options.node === undefined ? serverOf(options, context) : agentOf(options, context);
}
