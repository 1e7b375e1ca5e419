import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { spawnBound } from "@berth/service-kit/testing/bound-process";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { until } from "../../support/fleet.ts";
import { applyManifests } from "../../support/kubernetes/apply-manifests.ts";
import { serviceAccountAccess } from "../../support/kubernetes/service-account.ts";
import { startSimulatedNodes } from "../../support/kubernetes/simulated-nodes.ts";
import {
  createNamespace,
  type Kubernetes,
  startKubernetes,
} from "../../support/kubernetes/start-kubernetes.ts";
import { AuditLog } from "./audit-log.ts";

/** Size of a {@link BlockScene}. */
export interface SceneShape {
  readonly nodes: number;
  readonly gpusPerNode: number;
}

/** An answer to an action: when its operation was accepted, ms since 1970. */
export interface Done {
  readonly acceptedAtMs: number;
}

const ROOT = path.resolve(import.meta.dirname, "../../..");
const AGENT_MAIN = path.join(ROOT, "cluster-agent/src/main.ts");
const NODES_PROGRAM = path.join(ROOT, "cluster-agent/src/testing/joined-nodes.ts");
const AGENT_NAMESPACE = "berth";
const NAMESPACE = "blocks";
const REPORT_EVERY_MS = 5_000;
const READY_LIMIT_MS = 60_000;
/** Longest time that an action may take, ms. */
const ACTION_LIMIT_MS = 120_000;
/** As many binds as hundreds of blocks at once cause. */
const SCHEDULER_ARGS = ["--kube-api-qps=500", "--kube-api-burst=1000"];

/**
 * A real Kubernetes control plane, and the real program of a cluster-agent on it with the rights of deploy/kubernetes. The nodes
 * are simulated: kubelets that only mark pods as running, node-agents that report idle GPUs from a process of their own.
 */
export class BlockScene {
  readonly namespace = NAMESPACE;
  /** Requests of the agent to the API server. */
  readonly audit: AuditLog;
  readonly #directory = mkdtempSync(path.join(tmpdir(), "berth-bench-"));
  readonly #ends: (() => Promise<unknown> | unknown)[] = [];
  #kubernetes: Kubernetes | undefined;
  #agent: ChildProcess | undefined;
  #url = "";

  private constructor() {
    const user = `system:serviceaccount:${AGENT_NAMESPACE}:cluster-agent`;
    this.audit = new AuditLog(this.#directory, user);
  }

  static async start(shape: SceneShape): Promise<BlockScene> {
    const scene = new BlockScene();
    try {
      await scene.#startKubernetes(shape);
      await scene.#startAgent(shape);
      return scene;
    } catch (thrown) {
      await scene.stop();
      throw thrown;
    }
  }

  get kubernetes(): Kubernetes {
    if (this.#kubernetes === undefined) throw new Error("there is no Kubernetes yet");
    return this.#kubernetes;
  }

  get agentPid(): number {
    return this.#agent?.pid ?? 0;
  }

  /** Does an action to its end; rejects with the agent's answer when it is not done. */
  async act(fields: object): Promise<Done> {
    const body = JSON.stringify({ ...fields, timeout_ms: ACTION_LIMIT_MS });
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${this.#url}/executeAction`, { method: "POST", headers, body });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`the agent answered ${response.status}: ${text}`);
    const { operation } = JSON.parse(text) as { operation: { created_at: string } };
    return { acceptedAtMs: Date.parse(operation.created_at) };
  }

  /** Ends everything, last first. */
  async stop(): Promise<void> {
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) await end();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #startKubernetes({ nodes, gpusPerNode }: SceneShape): Promise<void> {
    const args = { apiserver: this.audit.args, scheduler: SCHEDULER_ARGS };
    const kubernetes = await startKubernetes({ args });
    this.#kubernetes = kubernetes;
    this.#ends.push(() => kubernetes.stop());
    const names = Array.from({ length: nodes }, (_, place) => `node-${place}`);
    const simulated = await startSimulatedNodes(kubernetes, {
      nodes: names.map((name) => ({ name, labels: { nodeID: name }, gpus: gpusPerNode })),
    });
    this.#ends.push(() => simulated.stop());
    await createNamespace(kubernetes, AGENT_NAMESPACE);
    const enforced = { "pod-security.kubernetes.io/enforce": "restricted" };
    await createNamespace(kubernetes, NAMESPACE, enforced);
    const rights = readFileSync(path.join(ROOT, "deploy/kubernetes/rbac.yaml"), "utf8");
    await applyManifests(kubernetes.api, rights);
  }

  async #startAgent(shape: SceneShape): Promise<void> {
    const { kubeconfig } = await serviceAccountAccess(
      this.kubernetes,
      AGENT_NAMESPACE,
      "cluster-agent",
    );
    const kubeconfigFile = path.join(this.#directory, "kubeconfig");
    writeFileSync(kubeconfigFile, kubeconfig, { mode: 0o600 });
    const [httpPort = 0, nodePort = 0] = await freePorts(2);
    this.#url = `http://127.0.0.1:${httpPort}`;
    const agent = spawnBound(process.execPath, [AGENT_MAIN], {
      env: {
        ...process.env,
        BERTH_DATA_DIR: path.join(this.#directory, "agent"),
        BERTH_HTTP_PORT: String(httpPort),
        BERTH_NODE_PORT: String(nodePort),
        BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9",
        BERTH_LOCAL_TOKEN: `berth1.${"L".repeat(43)}`,
        BERTH_RUNTIME: "kubernetes",
        BERTH_KUBECONFIG: kubeconfigFile,
        BERTH_KUBERNETES_NAMESPACE: NAMESPACE,
      },
    });
    this.#agent = agent;
    agent.stdout?.resume();
    agent.stderr?.pipe(process.stderr);
    const exited = once(agent, "exit");
    this.#ends.push(() => {
      agent.kill();
      return exited;
    });
    await this.#until("the ledger to open", "/ledger", ({ state }) => state === "open");
    await this.#joinNodes({ nodePort, ...shape, reportEveryMs: REPORT_EVERY_MS });
    const { nodes } = shape;
    const isWhole = (cluster: Answered) => cluster.nodes?.count === nodes;
    await this.#until("the nodes to be known", "/cluster-actions/get-cluster", isWhole);
  }

  async #joinNodes(options: object): Promise<void> {
    const args = [NODES_PROGRAM, JSON.stringify(options)];
    const nodes = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#ends.push(() => {
      nodes.stdin.end();
      return once(nodes, "exit");
    });
    await Promise.race([
      once(nodes.stdout, "data"),
      once(nodes, "exit").then(() => {
        throw new Error("the nodes have not joined");
      }),
    ]);
    nodes.stdout.resume();
  }

  async #until(what: string, url: string, isSo: (data: Answered) => boolean): Promise<void> {
    let last = "";
    const condition = async () => {
      if (this.#agent?.exitCode !== null) throw new Error("the agent has ended");
      try {
        const response = await fetch(this.#url + url);
        last = await response.text();
        return response.ok && isSo(JSON.parse(last).data);
      } catch (thrown) {
        last = String(thrown);
        return false;
      }
    };
    const tail = () => `${what}; last: ${last.slice(0, 500)}`;
    await until(condition, { limitMs: READY_LIMIT_MS, what: tail });
  }
}

/** What is read of the agent's answers. */
interface Answered {
  readonly state?: string;
  readonly nodes?: { readonly count: number };
}
