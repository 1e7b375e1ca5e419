import { printable } from "../client/table.ts";
import type { ClusterView, NodeView } from "../cluster-view.ts";
import { isLoopback, portUrl, type UpSettings } from "./environment.ts";

/** What the summary is made of. */
export interface SummaryFacts {
  readonly settings: UpSettings;
  readonly cluster: ClusterView;
  /** Time from the start to ready. */
  readonly tookMs: number;
  /** Processor of this machine, for nodes whose document does not name theirs. */
  readonly localCpuModel: string | undefined;
}

/** The lines that `berth up` prints when the fleet is ready. */
export function renderSummary(facts: SummaryFacts): string[] {
  const { settings, cluster } = facts;
  const { host } = settings;
  const rows: [string, string][] = [
    ["REST", portUrl(host, settings.httpPort)],
    ["WebSocket", portUrl(host, settings.wsPort, "ws")],
    ["cluster agent", portUrl(host, settings.clusterPort)],
    ...openPorts(settings),
    ["cluster", `${cluster.id} (${cluster.status}, ${plural(cluster.nodes.length, "node")})`],
    ...cluster.nodes.map((node): [string, string] => [
      "node",
      describeNode(node, facts.localCpuModel),
    ]),
    ["data directory", settings.dataDir],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return [
    "",
    `Berth is ready (${(facts.tookMs / 1000).toFixed(1)} s)`,
    // Names of models and nodes are whatever their machines say.
    ...rows.map(([label, text]) => `  ${label.padEnd(width)}  ${printable(text)}`),
    "",
    "Try next, in another terminal:",
    ...nextCommands(settings).map((command) => `  ${command}`),
    "",
    "Ctrl-C stops the fleet.",
  ];
}

/** One line about a node: processor, cores, memory in GiB, GPUs. */
export function describeNode(node: NodeView, localCpuModel: string | undefined): string {
  const model = node.cpuModel ?? localCpuModel;
  const cpu = `${model === undefined ? "" : `${model}, `}${plural(node.cores, "core")}`;
  const memory = `${(node.memoryMiB / 1024).toFixed(1)} GiB`;
  const gpus =
    node.gpuError === undefined ? describeGpus(node.gpuModels) : `unknown (${node.gpuError})`;
  return `${node.id}: ${cpu}; ${memory} memory; GPUs: ${gpus}`;
}

/** GPUs counted by model: "8 x NVIDIA H100", or "none". */
export function describeGpus(models: readonly string[]): string {
  if (models.length === 0) return "none";
  const counts = new Map<string, number>();
  for (const model of models) counts.set(model, (counts.get(model) ?? 0) + 1);
  return [...counts].map(([model, count]) => `${count} x ${model}`).join(", ");
}

/** The ports that other machines' agents may dial. */
function openPorts(settings: UpSettings): [string, string][] {
  const { agentHost, agentPort, nodeHost, nodePort } = settings;
  const rows: [string, string][] = [];
  if (agentHost !== undefined) rows.push(["cluster-agents dial", listened(agentHost, agentPort)]);
  if (nodeHost !== undefined) rows.push(["node-agents dial", listened(nodeHost, nodePort)]);
  return rows;
}

function listened(host: string, port: number): string {
  return portUrl(host, port, isLoopback(host) ? "http" : "https");
}

function nextCommands(settings: UpSettings): string[] {
  const server = portUrl(settings.host, settings.httpPort);
  const flag = server === "http://127.0.0.1:8000" ? "" : ` --server ${server}`;
  return [
    `npx berth policy publish examples/policies/least-loaded${flag}`,
    `npx berth allocate --policy least-loaded:1.0.0-stable${flag}`,
  ];
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
