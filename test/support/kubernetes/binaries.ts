import { accessSync, constants, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

/** The programs of a Kubernetes control plane, as `tools/kubernetes/build.sh` names them. */
const PROGRAMS = ["etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager"];
const GO_MOD = path.resolve(import.meta.dirname, "../../../tools/kubernetes/go.mod");

/** Where the programs are looked for: KUBEBUILDER_ASSETS, else the folder that build.sh fills. */
export function kubernetesFolder(): string {
  const { KUBEBUILDER_ASSETS, BERTH_TOOLS_CACHE, XDG_CACHE_HOME } = process.env;
  if (KUBEBUILDER_ASSETS) return KUBEBUILDER_ASSETS;
  const caches = XDG_CACHE_HOME || path.join(homedir(), ".cache");
  const tools = BERTH_TOOLS_CACHE || path.join(caches, "berth");
  return path.join(tools, `kubernetes-${kubernetesVersion()}`);
}

/** The version that tools/kubernetes pins: "v1.37.2". */
export function kubernetesVersion(): string {
  const found = /^\s*k8s\.io\/kubernetes (v\S+)/m.exec(readFileSync(GO_MOD, "utf8"));
  if (found?.[1] === undefined) throw new Error(`${GO_MOD} requires no k8s.io/kubernetes`);
  return found[1];
}

/**
 * Whether a real control plane can be started, for `describe.skipIf`. With BERTH_REQUIRE_EXTERNAL=1 (CI)
 * it always says yes, so that missing programs fail the tests instead of skipping them.
 */
export function hasKubernetes(): boolean {
  return process.env.BERTH_REQUIRE_EXTERNAL === "1" || missingPrograms().length === 0;
}

/** Programs that are not in the folder. */
export function missingPrograms(): readonly string[] {
  const folder = kubernetesFolder();
  return PROGRAMS.filter((name) => !isExecutable(path.join(folder, name)));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
