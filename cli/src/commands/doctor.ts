import type { Command } from "commander";
import { EXIT_CODES, messageOf } from "../cli-error.ts";
import { type ApiServer, requestData } from "../client/http.ts";
import { at, textAt } from "../cluster-view.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { type Asked, type ClusterFacts, findings, findingsView } from "./doctor-findings.ts";

const HELP = `
Looks at the control-plane, agents, clusters, ledgers, nodes, pre-checks, stuck operations and placements, at the
autoscaler, at what runs without a record or fails again and again, and changes nothing. Exit code 1 when it finds an error; a warning is nothing that has to be mended.`;

/** Clusters that are asked at a time. */
const AT_ONCE = 16;

/** Adds `berth doctor`. */
export function doctorCommand(program: Command, parts: CommandParts): void {
  withServer(program.command("doctor"))
    .description("look for what is wrong with the fleet, and say what to do")
    .addHelpText("after", HELP)
    .action(async (options: ClientOptions) => {
      const server = serverOf(options, parts.context);
      // Who is not there at all is told as by any other command.
      const data = await requestData(server, { method: "GET", path: "/clusters" });
      const clusters = Array.isArray(data) ? data : [];
      const live = clusters.filter((one) => textAt(one, "status") === "live");
      const found = findings({
        clusters: { kind: "told", data: clusters },
        ...(await askFleet(server)),
        live: await askAll(
          server,
          live.map((one) => String(at(one, "id"))),
        ),
      });
      printData(parts, found, { form: options.output, view: findingsView });
      const errors = found.filter(({ severity }) => severity === "error").length;
      if (errors > 0) parts.finish(EXIT_CODES.failed);
      if (options.output !== "table") return;
      const many = `${clusters.length} clusters, ${live.length} of them live`;
      const sum = `${errors} errors, ${found.length - errors} warnings`;
      parts.context.stderr.write(`${many}: ${found.length === 0 ? "nothing found" : sum}\n`);
    });
}

async function askFleet(server: ApiServer) {
  const [fleet, operations, placements, allocations, blocks, ...scaling] = await Promise.all([
    ask(server, "/fleet"),
    ask(server, "/operations?state=stuck"),
    ask(server, "/placements?phase=stuck"),
    ask(server, "/allocations"),
    ask(server, "/blocks"),
    ask(server, "/readyz"),
    ask(server, "/autoscale/evaluations?limit=1"),
    ask(server, "/autoscale/requests?state=awaiting_approval"),
  ]);
  const [health, evaluations, waiting] = scaling;
  return { fleet, operations, placements, allocations, blocks, health, evaluations, waiting };
}

async function askAll(server: ApiServer, ids: readonly string[]): Promise<readonly ClusterFacts[]> {
  const facts = new Map<string, ClusterFacts>();
  const waiting = ids.values();
  const loop = async (): Promise<void> => {
    for (const clusterId of waiting) facts.set(clusterId, await askCluster(server, clusterId));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loop));
  return ids.flatMap((id) => facts.get(id) ?? []);
}

async function askCluster(server: ApiServer, clusterId: string): Promise<ClusterFacts> {
  const path = `/clusters/${encodeURIComponent(clusterId)}`;
  const [ledger, nodes, prechecks] = await Promise.all([
    ask(server, `${path}/ledger`),
    ask(server, `${path}/nodes`),
    ask(server, `${path}/prechecks`),
  ]);
  return { clusterId, ledger, nodes, prechecks };
}

async function ask(server: ApiServer, path: string): Promise<Asked> {
  try {
    return { kind: "told", data: await requestData(server, { method: "GET", path }) };
  } catch (thrown) {
    return { kind: "failed", message: messageOf(thrown) };
  }
}
