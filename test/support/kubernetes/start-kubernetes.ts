import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { removeAtEnd } from "@berth/service-kit/testing/bound-process";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { until } from "../fleet.ts";
import { kubernetesFolder, missingPrograms } from "./binaries.ts";
import { Component } from "./component.ts";
import {
  argumentsOf,
  COMPONENTS,
  type ComponentName,
  type ControlPlaneLayout,
  FILES,
  PROGRAM_OF,
} from "./component-arguments.ts";
import { compactHistory } from "./etcd.ts";
import { isNotFound, type KubeAccess, KubeApi } from "./kube-api.ts";
import { kubeconfigOf } from "./kubeconfig.ts";

/** Less than hooks of tests have, so that it is told what was waited for. */
const READY_LIMIT_MS = 50_000;
const ADMIN_TOKEN = "test-admin";

/** How {@link startKubernetes} starts a control plane. */
export interface KubernetesOptions {
  /** Programs that are not started; {@link Kubernetes.restart} starts them later. */
  readonly without?: readonly ComponentName[];
  /** More arguments of programs: `{ apiserver: ["--v=2"] }`. A later one overrules an earlier one. */
  readonly args?: Partial<Readonly<Record<ComponentName, readonly string[]>>>;
  /** Seconds without a renewed lease after which a node is unknown; 40 by default, as Kubernetes has it. */
  readonly nodeGraceSeconds?: number;
  /** Seconds that pods stay on a node that is unknown or not ready; 300 by default, as Kubernetes has it. */
  readonly evictionSeconds?: number;
}

/** A control plane of Kubernetes without kubelets: etcd and three programs, on 127.0.0.1. */
export interface Kubernetes {
  /** "https://127.0.0.1:15003". */
  readonly url: string;
  /** Temporary directory with its data, removed at the end. */
  readonly directory: string;
  /** Address, CA and token of an administrator (group system:masters). */
  readonly access: KubeAccess;
  /** Kubeconfig of that administrator: the text, and a file with it. */
  readonly kubeconfig: string;
  readonly kubeconfigPath: string;
  /** The API in the administrator's name. */
  readonly api: KubeApi;
  /** Seconds without a renewed lease after which a node is unknown. */
  readonly nodeGraceSeconds: number;
  /** What a program printed last. */
  output(name: ComponentName): string;
  /** Process id of a program; 0 when it does not run. */
  pid(name: ComponentName): number;
  /** Kills a program; resolves when it has gone. */
  kill9(name: ComponentName): Promise<void>;
  /** SIGSTOP of a program: its connections stay open, nothing answers. */
  pause(name: ComponentName): void;
  /** SIGCONT of a program. */
  resume(name: ComponentName): void;
  /** Kills a program if it runs and starts it with the same data and ports; waits until the API answers. */
  restart(name: ComponentName): Promise<void>;
  /**
   * Forgets all history up to now, in etcd and (it is started again) in the API server: a watch from an
   * earlier resource version gets 410.
   */
  forgetHistory(): Promise<void>;
  /** Kills the programs and removes the data. */
  stop(): Promise<void>;
}

/**
 * Starts a control plane on free ports and waits until it takes orders. RBAC, Pod Security and service
 * accounts work as in a real one. It ends with this process, however this one ends.
 */
export async function startKubernetes(options: KubernetesOptions = {}): Promise<Kubernetes> {
  const missing = missingPrograms();
  if (missing.length > 0) {
    const hint = "tools/kubernetes/build.sh builds them";
    throw new Error(`${missing.join(", ")} not in ${kubernetesFolder()}: ${hint}`);
  }
  const directory = mkdtempSync(path.join(tmpdir(), "berth-kubernetes-"));
  const plane = new ControlPlane(directory, await layoutOf(directory, options), options);
  try {
    await plane.start();
  } catch (thrown) {
    await plane.stop();
    throw thrown;
  }
  return plane;
}

async function layoutOf(
  directory: string,
  { nodeGraceSeconds = 40, evictionSeconds = 300 }: KubernetesOptions,
): Promise<ControlPlaneLayout> {
  const [etcdPort = 0, etcdPeerPort = 0, apiPort = 0] = await freePorts(3);
  return { directory, etcdPort, etcdPeerPort, apiPort, nodeGraceSeconds, evictionSeconds };
}

class ControlPlane implements Kubernetes {
  readonly url: string;
  readonly directory: string;
  readonly #layout: ControlPlaneLayout;
  readonly #without: readonly ComponentName[];
  readonly #components: ReadonlyMap<ComponentName, Component>;
  readonly #keepDirectory: () => void;
  #access: KubeAccess | undefined;
  #api: KubeApi | undefined;

  constructor(directory: string, layout: ControlPlaneLayout, options: KubernetesOptions) {
    this.directory = directory;
    this.url = `https://127.0.0.1:${layout.apiPort}`;
    this.#layout = layout;
    this.#without = options.without ?? [];
    this.#components = new Map(
      COMPONENTS.map((name) => {
        const args = [...argumentsOf(name, layout), ...(options.args?.[name] ?? [])];
        return [name, new Component(path.join(kubernetesFolder(), PROGRAM_OF[name]), args)];
      }),
    );
    this.#keepDirectory = removeAtEnd(directory);
  }

  get access(): KubeAccess {
    if (this.#access === undefined) throw new Error("the API server has not been ready yet");
    return this.#access;
  }

  get api(): KubeApi {
    this.#api ??= new KubeApi(this.access);
    return this.#api;
  }

  get nodeGraceSeconds(): number {
    return this.#layout.nodeGraceSeconds;
  }

  get kubeconfig(): string {
    return kubeconfigOf(this.access);
  }

  get kubeconfigPath(): string {
    return this.#file("adminConfig");
  }

  async start(): Promise<void> {
    this.#writeSecrets();
    this.#component("etcd").start();
    this.#component("apiserver").start();
    await this.#untilReady();
    writeFileSync(this.kubeconfigPath, this.kubeconfig, { mode: 0o600 });
    for (const name of ["scheduler", "controllers"] as const) {
      if (!this.#without.includes(name)) this.#component(name).start();
    }
    if (!this.#without.includes("controllers")) await this.#untilControlled();
  }

  output(name: ComponentName): string {
    return this.#component(name).output;
  }

  pid(name: ComponentName): number {
    return this.#component(name).pid;
  }

  kill9(name: ComponentName): Promise<void> {
    return this.#component(name).kill9();
  }

  pause(name: ComponentName): void {
    this.#component(name).pause();
  }

  resume(name: ComponentName): void {
    this.#component(name).resume();
  }

  async restart(name: ComponentName): Promise<void> {
    await this.kill9(name);
    this.#component(name).start();
    await this.#untilReady();
  }

  async forgetHistory(): Promise<void> {
    await compactHistory(`http://127.0.0.1:${this.#layout.etcdPort}`);
    await this.restart("apiserver");
  }

  async stop(): Promise<void> {
    this.#api?.close();
    await Promise.all([...this.#components.values()].map((component) => component.kill9()));
    this.#keepDirectory();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #component(name: ComponentName): Component {
    const component = this.#components.get(name);
    if (component === undefined) throw new Error(`no program ${name}`);
    return component;
  }

  #file(name: keyof typeof FILES): string {
    return path.join(this.directory, FILES[name]);
  }

  #writeSecrets(): void {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" });
    writeFileSync(this.#file("serviceAccountKey"), pem, { mode: 0o600 });
    const admin = `${ADMIN_TOKEN},admin,admin,system:masters\n`;
    writeFileSync(this.#file("tokens"), admin, { mode: 0o600 });
  }

  async #untilReady(): Promise<void> {
    await this.#until(
      async () => {
        const ca = readFileSync(this.#file("ca"), "utf8");
        const access = { url: this.url, ca, token: ADMIN_TOKEN };
        const probe = new KubeApi(access);
        try {
          if ((await probe.requestText("/readyz", 2_000)) !== "ok") return false;
          // Not before: the API server may be writing its certificate still.
          this.#access = access;
          return true;
        } finally {
          probe.close();
        }
      },
      ["etcd", "apiserver"],
      "the API server to be ready",
    );
  }

  /** Waits until the controllers work: pods are refused before their service account is there. */
  async #untilControlled(): Promise<void> {
    await this.#until(
      async () => {
        await this.api.get("/api/v1/namespaces/default/serviceaccounts/default");
        return true;
      },
      ["etcd", "apiserver", "controllers"],
      "the controllers to work",
    );
  }

  async #until(
    condition: () => Promise<boolean>,
    needed: readonly ComponentName[],
    what: string,
  ): Promise<void> {
    let last: unknown;
    await until(
      async () => {
        for (const name of needed) this.#failIfGone(name);
        try {
          return await condition();
        } catch (thrown) {
          last = thrown;
          return false;
        }
      },
      {
        limitMs: READY_LIMIT_MS,
        what: () => `${what} (${last}):\n${needed.map((name) => this.output(name)).join("\n")}`,
      },
    );
  }

  #failIfGone(name: ComponentName): void {
    if (this.#component(name).isRunning) return;
    throw new Error(`${PROGRAM_OF[name]} ended:\n${this.output(name)}`);
  }
}

/** Creates a namespace and waits until pods may be created in it. */
export async function createNamespace(
  kubernetes: Kubernetes,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  const body = { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
  await kubernetes.api.request("POST", "/api/v1/namespaces", { body });
  await until(
    async () => {
      try {
        await kubernetes.api.get(`/api/v1/namespaces/${name}/serviceaccounts/default`);
        return true;
      } catch (thrown) {
        if (isNotFound(thrown)) return false;
        throw thrown;
      }
    },
    { what: () => `the default service account of namespace ${name}` },
  );
}
