/** The programs of a control plane, in the order in which they are started. */
export const COMPONENTS = ["etcd", "apiserver", "scheduler", "controllers"] as const;

/** One of {@link COMPONENTS}. */
export type ComponentName = (typeof COMPONENTS)[number];

/** File names of the programs. */
export const PROGRAM_OF: Readonly<Record<ComponentName, string>> = {
  etcd: "etcd",
  apiserver: "kube-apiserver",
  scheduler: "kube-scheduler",
  controllers: "kube-controller-manager",
};

/** What the arguments of the programs follow from. */
export interface ControlPlaneLayout {
  readonly directory: string;
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  readonly apiPort: number;
  /** Seconds without a renewed lease after which a node becomes unknown. */
  readonly nodeGraceSeconds: number;
  /** Seconds that pods stay on a node that is unknown or not ready. */
  readonly evictionSeconds: number;
}

/** Files of a control plane in its directory. */
export const FILES = {
  etcdData: "etcd",
  certificates: "certificates",
  /** The API server's own certificate and its CA, both PEM; it makes them at its first start. */
  ca: "certificates/apiserver.crt",
  tokens: "tokens.csv",
  serviceAccountKey: "service-accounts.pem",
  adminConfig: "admin.kubeconfig",
} as const;

/** What the tests need, and those whose absence would be noticed. */
const CONTROLLERS = [
  "clusterrole-aggregation-controller",
  "cronjob-controller",
  "daemonset-controller",
  "deployment-controller",
  "disruption-controller",
  "endpoints-controller",
  "endpointslice-controller",
  "garbage-collector-controller",
  "horizontal-pod-autoscaler-controller",
  "job-controller",
  "namespace-controller",
  "node-lifecycle-controller",
  "pod-garbage-collector-controller",
  "replicaset-controller",
  "resourcequota-controller",
  "root-ca-certificate-publisher-controller",
  "serviceaccount-controller",
  "serviceaccount-token-controller",
  "statefulset-controller",
  "taint-eviction-controller",
  "ttl-after-finished-controller",
];

/** Arguments of one program. */
export function argumentsOf(name: ComponentName, layout: ControlPlaneLayout): readonly string[] {
  return BUILDERS[name](layout);
}

const BUILDERS: Readonly<Record<ComponentName, (layout: ControlPlaneLayout) => readonly string[]>> =
  {
    etcd: etcdArguments,
    apiserver: apiServerArguments,
    scheduler: ({ directory }) => [
      `--kubeconfig=${directory}/${FILES.adminConfig}`,
      "--leader-elect=false",
      "--secure-port=0",
    ],
    controllers: controllerArguments,
  };

function etcdArguments({
  directory,
  etcdPort,
  etcdPeerPort,
}: ControlPlaneLayout): readonly string[] {
  const clients = `http://127.0.0.1:${etcdPort}`;
  const peers = `http://127.0.0.1:${etcdPeerPort}`;
  return [
    `--data-dir=${directory}/${FILES.etcdData}`,
    `--listen-client-urls=${clients}`,
    `--advertise-client-urls=${clients}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
    // The data outlives processes, not the machine.
    "--unsafe-no-fsync",
    "--log-level=warn",
  ];
}

function apiServerArguments(layout: ControlPlaneLayout): readonly string[] {
  const { directory, etcdPort, apiPort, evictionSeconds } = layout;
  const key = `${directory}/${FILES.serviceAccountKey}`;
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${apiPort}`,
    `--cert-dir=${directory}/${FILES.certificates}`,
    `--token-auth-file=${directory}/${FILES.tokens}`,
    "--authorization-mode=RBAC",
    `--service-account-key-file=${key}`,
    `--service-account-signing-key-file=${key}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-cluster-ip-range=10.96.0.0/16",
    // The address of this API server is one of the loopback, which no endpoint may have.
    "--endpoint-reconciler-type=none",
    "--allow-privileged=true",
    `--default-not-ready-toleration-seconds=${evictionSeconds}`,
    `--default-unreachable-toleration-seconds=${evictionSeconds}`,
  ];
}

function controllerArguments(layout: ControlPlaneLayout): readonly string[] {
  const { directory, nodeGraceSeconds } = layout;
  return [
    `--kubeconfig=${directory}/${FILES.adminConfig}`,
    `--controllers=${CONTROLLERS.join(",")}`,
    `--service-account-private-key-file=${directory}/${FILES.serviceAccountKey}`,
    `--root-ca-file=${directory}/${FILES.ca}`,
    `--node-monitor-grace-period=${nodeGraceSeconds}s`,
    "--node-monitor-period=1s",
    "--leader-elect=false",
    "--secure-port=0",
    // As many requests as hundreds of pods of one test cause.
    "--kube-api-qps=500",
    "--kube-api-burst=1000",
  ];
}
