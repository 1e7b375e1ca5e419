import { kubernetesVersion } from "./binaries.ts";
import { isNotFound, type KubeApi, KubeRefusal } from "./kube-api.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const RETRY_MS = 500;
/** An API server that does not answer is asked again long before the node is unknown. */
const LEASE_LIMIT_MS = 5_000;

/** A node to simulate. */
export interface NodeSpec {
  readonly name: string;
  /** Such as `{ nodeID: "node-1" }`; hostname, os and arch are added. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Count of nvidia.com/gpu; 0 by default. */
  readonly gpus?: number;
  /** Cores; 96 by default. */
  readonly cpu?: number;
  /** 1,048,576 by default. */
  readonly memoryMiB?: number;
  /** 250 by default. */
  readonly pods?: number;
  /** Other resources: `{ "nvidia.com/mig-1g.10gb": "7" }`. */
  readonly resources?: Readonly<Record<string, string>>;
}

/** A Node object, its lease and its Ready condition, as a kubelet keeps them. */
export class SimulatedNode {
  readonly #spec: NodeSpec;
  readonly #api: KubeApi;
  readonly #leaseMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isReady = true;
  #isSilent = false;

  constructor(spec: NodeSpec, api: KubeApi, leaseMs: number) {
    this.#spec = spec;
    this.#api = api;
    this.#leaseMs = leaseMs;
  }

  get name(): string {
    return this.#spec.name;
  }

  /** Whether it is cut off from the API server. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Registers it (or takes over the Node object that is there) and renews its lease from then on. */
  async start(): Promise<void> {
    await orIfThere(this.#api.request("POST", "/api/v1/nodes", { body: this.#object() }));
    await this.#reportStatus();
    await this.#renew();
    this.#schedule(this.#leaseMs);
  }

  /** Reports Ready or not. */
  async setReady(isReady: boolean): Promise<void> {
    this.#isReady = isReady;
    await this.#reportStatus();
  }

  /** Stops or resumes all talk with the API server. */
  async setSilent(isSilent: boolean): Promise<void> {
    this.#isSilent = isSilent;
    if (isSilent) return;
    await this.#renew();
    // The node lifecycle controller has written "Unknown" by then.
    await this.#reportStatus();
  }

  /** Deletes the Node object, as one does with a machine that has gone. */
  async delete(): Promise<void> {
    this.stop();
    await this.#api.request("DELETE", `/api/v1/nodes/${this.name}`);
  }

  /** Ends it without a word. */
  stop(): void {
    this.#isSilent = true;
    clearTimeout(this.#timer);
  }

  #schedule(ms: number): void {
    this.#timer = setTimeout(() => void this.#beat(), ms);
    this.#timer.unref();
  }

  async #beat(): Promise<void> {
    let nextMs = this.#leaseMs;
    try {
      if (!this.#isSilent) await this.#renew();
    } catch {
      nextMs = Math.min(RETRY_MS, this.#leaseMs);
    }
    this.#schedule(nextMs);
  }

  async #renew(): Promise<void> {
    const { name } = this;
    const renewTime = new Date().toISOString().replace("Z", "000Z");
    const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime };
    const limitMs = LEASE_LIMIT_MS;
    try {
      await this.#api.request("PATCH", `${LEASES}/${name}`, {
        body: { spec },
        contentType: "application/merge-patch+json",
        limitMs,
      });
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
      await this.#api.request("POST", LEASES, { body: { metadata: { name }, spec }, limitMs });
    }
  }

  async #reportStatus(): Promise<void> {
    await this.#api.request("PATCH", `/api/v1/nodes/${this.name}/status`, {
      body: { status: this.#status() },
      contentType: "application/strategic-merge-patch+json",
    });
  }

  #object(): object {
    const labels = {
      "kubernetes.io/hostname": this.name,
      "kubernetes.io/os": "linux",
      "kubernetes.io/arch": "amd64",
      ...this.#spec.labels,
    };
    return { apiVersion: "v1", kind: "Node", metadata: { name: this.name, labels } };
  }

  #status(): object {
    const { gpus = 0, cpu = 96, memoryMiB = 1_048_576, pods = 250, resources } = this.#spec;
    const amounts = {
      cpu: String(cpu),
      memory: `${memoryMiB}Mi`,
      pods: String(pods),
      "ephemeral-storage": "1Ti",
      ...(gpus > 0 && { "nvidia.com/gpu": String(gpus) }),
      ...resources,
    };
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const condition = (type: string, status: string) => ({
      type,
      status,
      reason: `Simulated${type}`,
      message: "simulated",
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    });
    return {
      capacity: amounts,
      allocatable: amounts,
      conditions: [
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("Ready", this.#isReady ? "True" : "False"),
      ],
      addresses: [
        { type: "InternalIP", address: "127.0.0.1" },
        { type: "Hostname", address: this.name },
      ],
      nodeInfo: {
        architecture: "amd64",
        bootID: "",
        containerRuntimeVersion: "simulated://1",
        kernelVersion: "6.1.0",
        kubeProxyVersion: "",
        kubeletVersion: kubernetesVersion(),
        machineID: this.name,
        operatingSystem: "linux",
        osImage: "simulated",
        systemUUID: this.name,
      },
    };
  }
}

async function orIfThere(creation: Promise<unknown>): Promise<void> {
  try {
    await creation;
  } catch (thrown) {
    if (!(thrown instanceof KubeRefusal && thrown.reason === "AlreadyExists")) throw thrown;
  }
}
