/** Metadata of an object as the API server gives it; anything may be absent in an object of somebody else's. */
export interface KubeMetadata {
  readonly name?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly uid?: string }[];
}

/** Any object of the Kubernetes API. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: KubeMetadata;
}

/** A page of a list. */
export interface KubeList<T extends KubeObject = KubeObject> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[];
}

/** What is read of a condition of an object. */
export interface KubeCondition {
  readonly type?: string;
  readonly status?: string;
  readonly reason?: string;
  readonly message?: string;
}

/** What is read of a Deployment. */
export interface DeploymentObject extends KubeObject {
  readonly spec?: {
    readonly template?: { readonly metadata?: KubeMetadata };
  };
  readonly status?: { readonly conditions?: readonly KubeCondition[] };
}

/** What is read of one container's status; each state has the times and reasons of its own. */
export interface ContainerStatus {
  readonly name?: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: { readonly startedAt?: string };
    readonly terminated?: {
      readonly exitCode?: number;
      readonly signal?: number;
      readonly reason?: string;
    };
  };
}

/** What is read of a Pod. */
export interface PodObject extends KubeObject {
  readonly spec?: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly KubeCondition[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** What is read of a Node. */
export interface NodeObject extends KubeObject {
  readonly spec?: { readonly unschedulable?: boolean };
  readonly status?: {
    readonly conditions?: readonly KubeCondition[];
    /** Quantities: "96", "7910m", "1056Gi". */
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly nodeInfo?: {
      readonly osImage?: string;
      readonly kernelVersion?: string;
      readonly architecture?: string;
    };
  };
}

/** A kind of objects: where its collection is. */
export interface KubeResource {
  /** "apps/v1", "v1". */
  readonly apiVersion: string;
  readonly kind: string;
  /** "deployments". */
  readonly plural: string;
}

/** The kinds that Berth works with. */
export const RESOURCES = {
  configMap: { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" },
  deployment: { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments" },
  replicaSet: { apiVersion: "apps/v1", kind: "ReplicaSet", plural: "replicasets" },
  pod: { apiVersion: "v1", kind: "Pod", plural: "pods" },
  service: { apiVersion: "v1", kind: "Service", plural: "services" },
  node: { apiVersion: "v1", kind: "Node", plural: "nodes" },
  lease: { apiVersion: "coordination.k8s.io/v1", kind: "Lease", plural: "leases" },
  grpcRoute: {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GRPCRoute",
    plural: "grpcroutes",
  },
} as const satisfies Record<string, KubeResource>;

/** Path of the objects of a kind in a namespace, of one of them, or of those that no namespace has. */
export function pathOf(
  { apiVersion, plural }: KubeResource,
  namespace: string | undefined,
  name?: string,
): string {
  const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const within = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  const collection = `${group}${within}/${plural}`;
  return name === undefined ? collection : `${collection}/${encodeURIComponent(name)}`;
}
