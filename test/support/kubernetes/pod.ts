import type { KubeObject } from "./kube-api.ts";

/** What the simulated kubelet reads of a container. */
export interface ContainerSpec {
  readonly name: string;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly restartPolicy?: string;
  readonly env?: readonly EnvEntry[];
  readonly envFrom?: readonly {
    readonly prefix?: string;
    readonly configMapRef?: { readonly name: string; readonly optional?: boolean };
    readonly secretRef?: { readonly name: string; readonly optional?: boolean };
  }[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly resources?: { readonly limits?: Readonly<Record<string, string | number>> };
  readonly startupProbe?: ProbeSpec;
  readonly readinessProbe?: ProbeSpec;
  readonly livenessProbe?: ProbeSpec;
}

/** One variable of a container. */
export interface EnvEntry {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly configMapKeyRef?: KeyReference;
    readonly secretKeyRef?: KeyReference;
  };
}

/** A key of a ConfigMap or Secret. */
export interface KeyReference {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

/** A probe; only those by HTTP are made. */
export interface ProbeSpec {
  readonly httpGet?: { readonly path?: string; readonly port: number | string };
  readonly initialDelaySeconds?: number;
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly failureThreshold?: number;
}

/** A pod, as its JSON is. */
export interface Pod extends KubeObject {
  readonly spec: {
    readonly nodeName?: string;
    readonly serviceAccountName?: string;
    readonly restartPolicy?: "Always" | "OnFailure" | "Never";
    readonly terminationGracePeriodSeconds?: number;
    readonly containers: readonly ContainerSpec[];
    readonly initContainers?: readonly ContainerSpec[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly startTime?: string;
    readonly podIP?: string;
    readonly conditions?: readonly PodCondition[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly restartCount: number;
      readonly state?: { readonly running?: { readonly startedAt?: string } };
    }[];
  };
}

/** A condition of a pod's status. */
export interface PodCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

/** What becomes of a pod on a simulated node. What is left out happens at once and goes well. */
export interface PodBehaviour {
  /** From its arrival on the node to its containers' start, in ms. */
  readonly startMs?: number;
  /** From its containers' start to ready, in ms; for real processes after their readiness probe. */
  readonly readyMs?: number;
  /** Its containers run and never become ready; lose it if they were. */
  readonly neverReady?: boolean;
  /** Its image cannot be had: ImagePullBackOff. */
  readonly imagePullError?: boolean;
  /** The node refuses it: phase Failed with this reason, such as "OutOfnvidia.com/gpu". */
  readonly rejected?: string;
  /** Its containers end each time after this long with this code: `{ code: 1, afterMs: 100 }`. */
  readonly exits?: { readonly code: number; readonly afterMs: number };
  /** Wait before containers that ended are started again, in ms; 1000 by default, doubled up to 10 times. */
  readonly backoffMs?: number;
  /** From the order to end until it has gone, in ms. */
  readonly terminateMs?: number;
  /** It stays in Terminating until this is no longer so. */
  readonly hangsTerminating?: boolean;
}

/** Where a pod's containers are in their life. */
export type PodStage =
  | { readonly kind: "creating"; readonly sinceMs: number }
  | { readonly kind: "running"; readonly sinceMs: number }
  | { readonly kind: "backoff"; readonly sinceMs: number; readonly exitCode: number }
  | { readonly kind: "ended"; readonly exitCode: number }
  | { readonly kind: "rejected"; readonly reason: string };

/** Everything that a pod's status follows from. */
export interface PodState {
  readonly stage: PodStage;
  readonly isReady: boolean;
  readonly isPullError: boolean;
  readonly restarts: number;
  /** Of the life before the present one. */
  readonly lastExitCode: number;
  /** When the node took it, and when its containers started last; RFC 3339. */
  readonly startTime: string;
  readonly startedAt: string;
  readonly podIP: string;
}
