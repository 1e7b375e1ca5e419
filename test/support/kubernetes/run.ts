import { parseArgs } from "node:util";
import { runCommand, startSimulatedNodes } from "./simulated-nodes.ts";
import { startKubernetes } from "./start-kubernetes.ts";

/**
 * `npm run kubernetes -- --nodes 2x8`: a real Kubernetes control plane with simulated nodes that run the
 * containers' commands on this machine, until Ctrl-C. Prints one JSON line when it is ready:
 * `{"url", "kubeconfig": path, "directory", "nodes", "pids"}`. Nodes are labelled `nodeID=node-1`, ….
 */
const { values } = parseArgs({
  options: {
    /** Nodes x GPUs of each. */
    nodes: { type: "string", default: "2x8" },
    /** Containers are only pretended. */
    pretend: { type: "boolean", default: false },
  },
});
const shape = /^(\d{1,4})x(\d{1,3})$/.exec(values.nodes);
if (shape === null) throw new Error(`--nodes: expected <nodes>x<GPUs>, got ${values.nodes}`);
const [, count, gpus] = shape;

const kubernetes = await startKubernetes();
const names = Array.from({ length: Number(count) }, (_, index) => `node-${index + 1}`);
const nodes = await startSimulatedNodes(kubernetes, {
  nodes: names.map((name) => ({ name, labels: { nodeID: name }, gpus: Number(gpus) })),
  ...(!values.pretend && { run: runCommand }),
});
const pids = (["etcd", "apiserver", "scheduler", "controllers"] as const).map(
  kubernetes.pid,
  kubernetes,
);
const { url, kubeconfigPath: kubeconfig, directory } = kubernetes;
console.log(JSON.stringify({ url, kubeconfig, directory, nodes: names, pids }));

await new Promise((resolve) => {
  const alive = setInterval(() => undefined, 60_000);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      clearInterval(alive);
      resolve(signal);
    });
  }
});
await nodes.stop();
await kubernetes.stop();
