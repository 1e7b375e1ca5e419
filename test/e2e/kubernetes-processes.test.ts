import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import { until } from "../support/fleet.ts";
import { applyManifests } from "../support/kubernetes/apply-manifests.ts";
import { hasKubernetes } from "../support/kubernetes/binaries.ts";
import type { Pod } from "../support/kubernetes/pod.ts";
import { runCommand, startSimulatedNodes } from "../support/kubernetes/simulated-nodes.ts";
import { startKubernetes } from "../support/kubernetes/start-kubernetes.ts";

describe.skipIf(!hasKubernetes())("simulated nodes that run real processes", () => {
  it("run a container's command with its environment on an address of its own, and restart it", async () => {
    const kubernetes = await startKubernetes();
    const nodes = await startSimulatedNodes(kubernetes, {
      nodes: [{ name: "gpu-a", gpus: 8 }],
      run: runCommand,
    });
    try {
      await applyManifests(kubernetes.api, ECHO);
      const ready = (count: number, restarts: number) => async () => {
        const pods = nodes
          .pods()
          .filter(({ status }) =>
            status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"),
          );
        const restarted = pods.map(({ status }) => status?.containerStatuses?.[0]?.restartCount);
        return pods.length === count && Math.max(0, ...restarted.map(Number)) === restarts;
      };
      const shown = ({ metadata, status }: Pod) => [metadata, status, nodes.output(metadata.name)];
      await until(ready(2, 0), {
        limitMs: 40_000,
        what: () => `two ready pods: ${JSON.stringify(nodes.pods().map(shown), null, 1)}`,
      });
      for (const { metadata, status } of nodes.pods()) {
        const reply = await fetch(`http://${status?.podIP}:18001/infer`, {
          method: "POST",
          body: JSON.stringify({ text: "hello" }),
        });
        const { data } = JSON.parse(await reply.text());
        expect(data).toMatchObject({ text: "hello", instance_id: metadata.name });
      }
      nodes.crash(nodes.pods()[0]?.metadata.name ?? "");
      await until(ready(2, 1), { limitMs: 40_000, what: () => "two ready pods, one restarted" });
    } finally {
      await nodes.stop();
      await kubernetes.stop();
    }
  });
});

const ECHO = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      automountServiceAccountToken: false
      containers:
        - name: main
          image: echo
          command: [node, examples/blocks/echo/server.js]
          env:
            - { name: INSTANCE_ID, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
          ports: [{ name: control, containerPort: 18001 }]
          readinessProbe: { httpGet: { path: /health, port: control } }
          resources: { limits: { nvidia.com/gpu: "1" } }
`;

describe.skipIf(!hasKubernetes())("a control plane whose starter is killed", () => {
  it("ends, and leaves no data", async () => {
    const main = path.resolve(import.meta.dirname, "../support/kubernetes/run.ts");
    const starter = spawn(process.execPath, [main], { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    for await (const line of createInterface({ input: starter.stdout })) {
      told = line;
      break;
    }
    const { directory, pids } = JSON.parse(told);
    expect(pids.filter(isRunning)).toHaveLength(4);
    starter.kill("SIGKILL");
    await until(() => !pids.some(isRunning) && !existsSync(directory), {
      what: () => `processes ${pids} and ${directory} to go`,
    });
  });
});

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}
