import { resolve } from "node:path";
import type { Command } from "commander";
import { CliError, usageError } from "../cli-error.ts";
import { requestRows } from "../client/fleet-rows.ts";
import { type ApiServer, parseServer, requestData } from "../client/http.ts";
import { printable } from "../client/table.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import { DEFAULT_SIM_PORT } from "../sim/free-sim-port.ts";
import { type SimOptions, type SimSettings, simDataDir, simSettings } from "../sim/sim-options.ts";
import { upSettings } from "../up/options.ts";
import { runUp } from "../up/up.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withOutput,
  withServer,
} from "./command-parts.ts";
import { withOwnSimPort, withSimOptions } from "./sim-flags.ts";
import { cellText } from "./views.ts";

const HELP = `
Faults: [<after>] gpu-fail|gpu-xid|node-reboot|node-partition|smi-hang|link-cut
        [<cluster>[/node-<n>[/<gpu>]]] [<lasts>|<xid>]; without a target the seed draws one.

Examples:
  berth sim 3x4x8
  berth sim 2x4x4 --profile t4 --name edge    (clusters edge-0 and edge-1, beside those of another fleet)
  berth sim 100x100x8 --load busy --server http://127.0.0.1:8000
  berth sim fault gpu-fail sim-0/node-1/3
  berth sim fault link-cut sim-2 20s
  berth sim load busy`;

interface RunOptions extends ClientOptions, SimOptions {
  readonly dataDir?: string;
  readonly token?: string;
  readonly agentPort?: string;
  readonly verbose?: boolean;
}

interface SimServerOptions {
  readonly simServer?: string;
  readonly output: ClientOptions["output"];
}

const REQUEST_LIMIT_MS = 10_000;
const TOKEN_TTL_S = 86_400;
const MAX_TOKEN_USES = 10_000;

/** Adds `berth sim`. */
export function simCommand(program: Command, parts: CommandParts): void {
  const sim = program
    .command("sim")
    .description("run a simulated fleet on a control-plane that runs already")
    .argument("[fleet]", "clusters x nodes x GPUs: 3x4x8")
    .addHelpText("after", HELP);
  withSimOptions(withServer(sim))
    .option("--token <token>", "enrolment token for all clusters (default: one is made)")
    .option("--agent-port <port>", "control-plane: agents, with --token (default: 7443)")
    .option("--data-dir <path>", "where its state lives (default: .berth/sim-<server>[_<name>])")
    .option("--verbose", "show the simulator's log lines too")
    .action(async (fleet: string | undefined, options: RunOptions) => {
      if (fleet === undefined) throw usageError("sim: expected a fleet such as 3x4x8");
      parts.finish(await run(fleet, options, parts));
    });
  withSimServer(sim.command("fault"))
    .description("let a fault strike a simulated fleet that runs")
    .argument("<fault...>", "gpu-fail sim-0/node-1/3 60s")
    .action(async (words: string[], options: SimServerOptions) => {
      const body = { fault: words.join(" ") };
      const server = simServer(options, parts);
      const data = await requestData(server, { method: "POST", path: "/sim/faults", body });
      printData(parts, data, { form: options.output, view: faultText });
    });
  withSimServer(sim.command("load"))
    .description("change how the GPUs of a simulated fleet that runs are used")
    .argument("<pattern>", "idle, steady, waves, busy")
    .argument("[cluster]", "this cluster alone")
    .action(async (load: string, cluster: string | undefined, options: SimServerOptions) => {
      const body = { load, ...(cluster === undefined ? {} : { cluster }) };
      const server = simServer(options, parts);
      const data = await requestData(server, { method: "POST", path: "/sim/load", body });
      printData(parts, data, { form: options.output, view: loadText });
    });
  withSimServer(sim.command("status"))
    .description("show a simulated fleet that runs, and its faults")
    .action(async (options: SimServerOptions) => {
      const data = await requestData(simServer(options, parts), { method: "GET", path: "/sim" });
      printData(parts, data, { form: options.output, view: statusView });
    });
}

async function run(fleet: string, options: RunOptions, parts: CommandParts): Promise<number> {
  const { context, files } = parts;
  const { env, cwd } = context;
  const base = upSettings({}, { BERTH_HOST: env.BERTH_HOST }, cwd);
  const own = await withOwnSimPort(options, env, base.host);
  const sim = simSettings(fleet, own, context);
  const server = serverOf(options, context);
  const { hostname, host } = new URL(server.url);
  const made = options.token === undefined ? await newToken(server, sim) : undefined;
  const token = made?.token ?? options.token ?? "";
  const port = made?.agentPort ?? options.agentPort ?? "7443";
  // A pin in the token says that the port has TLS.
  const scheme = token.split(".").length > 2 ? "https" : "http";
  const ofServer = `.berth/sim-${host.replace(/[^a-zA-Z0-9.-]/g, "-")}`;
  const dataDir = resolve(cwd, options.dataDir ?? simDataDir(ofServer, sim));
  const joins = { agentUrl: `${scheme}://${hostname}:${port}`, token };
  const verbose = options.verbose ?? false;
  return runUp({ ...base, dataDir, verbose, sim: { ...sim, joins } }, files, context);
}

/** Throws a CliError when clusters of another fleet have the ids of this one's. */
async function refuseTakenName(server: ApiServer, { name }: SimSettings): Promise<void> {
  const cluster = `${name}-0`;
  const rows = await requestRows(server, "clusters", { cluster });
  if (!rows.some((row) => row.id === cluster && row.status === "live")) return;
  throw new CliError(
    `${server.url} has a live cluster ${cluster} already: choose another name for this fleet with --name, or stop that one`,
  );
}

async function newToken(server: ApiServer, sim: SimSettings) {
  await refuseTakenName(server, sim);
  const body = {
    label: "simulated fleet",
    max_uses: Math.min(sim.clusters, MAX_TOKEN_USES),
    ttl_s: TOKEN_TTL_S,
  };
  const data = await requestData(server, { method: "POST", path: "/tokens", body });
  const token = textAt(data, "token");
  const agentPort = at(data, "agent_port");
  if (token === undefined || agentPort === undefined) {
    throw new CliError(`${server.url} made no token with an agent port: check --server`);
  }
  return { token, agentPort: String(agentPort) };
}

function withSimServer(command: Command): Command {
  const fallback = `http://127.0.0.1:${DEFAULT_SIM_PORT}`;
  return withOutput(command).option(
    "--sim-server <url>",
    `simulator (or BERTH_SIM_SERVER; default: ${fallback})`,
  );
}

function simServer(options: SimServerOptions, { context }: CommandParts): ApiServer {
  const port = context.env.BERTH_SIM_PORT || DEFAULT_SIM_PORT;
  const address = options.simServer ?? (context.env.BERTH_SIM_SERVER || `127.0.0.1:${port}`);
  return {
    url: parseServer(address, "--sim-server", `http://127.0.0.1:${DEFAULT_SIM_PORT}`),
    timeoutMs: REQUEST_LIMIT_MS,
    noun: "simulator",
    chosenBy: "--sim-server or BERTH_SIM_SERVER",
    startedBy: "berth up --sim",
  };
}

function faultText(data: unknown): string {
  const text = (key: string) => cellText(at(data, key));
  const line = `fault ${text("id")}: ${text("kind")} ${text("target")} ${text("state")}`;
  return `${printable(line)}\n`;
}

function loadText(data: unknown): string {
  const clusters = listAt(data, "clusters").map((id) => cellText(id));
  return `${printable(`load ${cellText(at(data, "load"))}: ${clusters.join(", ")}`)}\n`;
}

function statusView(data: unknown) {
  const number = (key: string) => cellText(at(data, key));
  const clusters = listAt(data, "cluster_list").map((cluster) => [
    cellText(at(cluster, "id")),
    at(cluster, "linked") === true ? "linked" : "not linked",
    `${cellText(at(cluster, "nodes_registered"))}/${cellText(at(cluster, "nodes"))} nodes`,
    cellText(at(cluster, "http_url")),
  ]);
  const faults = listAt(data, "faults").map((fault) => [
    cellText(at(fault, "target")),
    cellText(at(fault, "state")),
    cellText(at(fault, "kind")),
    "",
  ]);
  const total = ["all", `${number("clusters_linked")}/${number("clusters")} linked`];
  return {
    columns: ["WHAT", "STATE", "HAS", "URL"],
    rows: [
      [
        ...total,
        `${number("nodes_registered")}/${number("nodes")} nodes, ${number("gpus")} GPUs`,
        "",
      ],
      ...clusters,
      ...faults,
    ],
  };
}
