import {
  choiceSetting,
  integerSetting,
  listSetting,
  loopbackHostSetting,
  portSetting,
  serverNamesSetting,
  textSetting,
} from "@berth/service-kit";

/** Settings of the control-plane; the README's table is made from these. */
export const settings = {
  dataDir: textSetting({
    env: "BERTH_DATA_DIR",
    doc: "directory of the control-plane's own state",
    fallback: ".berth/control-plane",
  }),
  host: loopbackHostSetting(),
  httpPort: portSetting({
    env: "BERTH_HTTP_PORT",
    doc: "REST, OpenAPI and WebSockets /ws/allocate, /ws/metrics and /ws/autoscale",
    fallback: 8000,
  }),
  wsPort: portSetting({
    env: "BERTH_WS_PORT",
    doc: "WebSocket of the resource allocator, and with ?interval= the feed of the org's report",
    fallback: 8765,
  }),
  agentPort: portSetting({
    env: "BERTH_AGENT_PORT",
    doc: "HTTP/2: cluster-agents dial it",
    fallback: 7443,
  }),
  aliasPorts: choiceSetting({
    env: "BERTH_ALIAS_PORTS",
    doc: "whether REST also answers on the ports where existing clients look for parts of it: on, off, or auto: only when BERTH_HTTP_PORT is 8000",
    fallback: "auto",
    choices: ["auto", "on", "off"],
  }),
  clustersAliasPort: portSetting({
    env: "BERTH_CLUSTERS_ALIAS_PORT",
    doc: "alias port: cluster registry",
    fallback: 3000,
  }),
  metricsAliasPort: portSetting({
    env: "BERTH_METRICS_ALIAS_PORT",
    doc: "alias port: global cluster metrics",
    fallback: 8888,
  }),
  subjectMetricsAliasPort: portSetting({
    env: "BERTH_SUBJECT_METRICS_ALIAS_PORT",
    doc: "alias port: usage of subjects",
    fallback: 8891,
  }),
  subjectsAliasPort: portSetting({
    env: "BERTH_SUBJECTS_ALIAS_PORT",
    doc: "alias port: metadata of subjects",
    fallback: 8892,
  }),
  autoscaleAliasPort: portSetting({
    env: "BERTH_AUTOSCALE_ALIAS_PORT",
    doc: "alias port: configuration of the autoscaler",
    fallback: 5000,
  }),
  orgId: {
    ...textSetting({
      env: "BERTH_ORG_ID",
      doc: "organization that records belong to; 1-100 characters without spaces, * and >",
      fallback: "default_org",
    }),
    read: (text: string) => {
      // It is a part of the bus's subjects.
      if (/^[^\s*>.\p{Cc}]+(\.[^\s*>.\p{Cc}]+)*$/u.test(text) && text.length <= 100) return text;
      throw new Error(
        "expected 1-100 characters without spaces, * and >, and no empty part between dots",
      );
    },
  },
  adhocAliasPort: portSetting({
    env: "BERTH_ADHOC_ALIAS_PORT",
    doc: "alias port: ad-hoc scaling by WebSocket",
    fallback: 6789,
  }),
  natsUrl: textSetting({
    env: "BERTH_NATS_URL",
    doc: "NATS servers, nats:// or tls://user:password@host:4222 with commas between them, that confirmations and notices go over; by default they stay within the program",
    fallback: "",
  }),
  redisUrl: textSetting({
    env: "BERTH_REDIS_URL",
    doc: "Redis, redis:// or rediss://:password@host:6379, that quotas, workflows, settings of the autoscaler and what is under way are mirrored to; by default there is no mirror",
    fallback: "",
  }),
  subjectAllocatorUrl: textSetting({
    env: "BERTH_SUBJECT_ALLOCATOR_URL",
    doc: "URL of an allocator of the org's own, which is sent POST …/allocate and confirms on the bus; by default Berth applies requests to scale itself",
    fallback: "",
  }),
  metricsUrl: textSetting({
    env: "BERTH_METRICS_URL",
    doc: "metrics feed that the autoscaler takes its reports from, ws://host:8765/?interval=10; GET /metrics/report of that host is asked while it is away. By default Berth's own reports",
    fallback: "",
  }),
  webhookSecrets: listSetting({
    env: "BERTH_WEBHOOK_SECRETS",
    doc: "secrets with which senders sign what they tell POST /metrics/webhook; several while one is changed. Without any nothing is checked",
    fallback: [],
  }),
  agentHost: textSetting({
    env: "BERTH_AGENT_HOST",
    doc: "address of the agent port, when it is not BERTH_HOST; one beyond loopback turns TLS on",
    fallback: "",
  }),
  agentNames: serverNamesSetting({
    env: "BERTH_AGENT_NAMES",
    doc: "names and addresses that agents dial, for the certificate; the host name and this machine's addresses are in it anyway",
  }),
  localToken: textSetting({
    env: "BERTH_LOCAL_TOKEN",
    doc: "enrolment token for the cluster-agent of this machine; `berth up` makes it",
    fallback: "",
  }),
  allowedHosts: listSetting({
    env: "BERTH_ALLOWED_HOSTS",
    doc: "host names beyond loopback that the Host header may carry",
    fallback: [],
  }),
  allowedOrigins: listSetting({
    env: "BERTH_ALLOWED_ORIGINS",
    doc: "origins beyond loopback ones that browsers may call from",
    fallback: [],
  }),
  assumeSeconds: integerSetting({
    env: "BERTH_ASSUME_SECONDS",
    doc: "seconds for which placed GPUs count as taken in other decisions, 0-300",
    fallback: 10,
    min: 0,
    max: 300,
  }),
  reportIntervalMs: integerSetting({
    env: "BERTH_REPORT_INTERVAL_MS",
    doc: "time between two telemetry reports of a cluster, in ms, 100-60000",
    fallback: 1_000,
    min: 100,
    max: 60_000,
  }),
  decisionDays: integerSetting({
    env: "BERTH_DECISION_DAYS",
    doc: "days that decision records are kept, 1-365",
    fallback: 7,
    min: 1,
    max: 365,
  }),
  decisionMaxMiB: integerSetting({
    env: "BERTH_DECISION_MAX_MIB",
    doc: "MiB of decision records that are kept, 16-1048576",
    fallback: 1_024,
    min: 16,
    max: 1_048_576,
  }),
  policyWallMs: integerSetting({
    env: "BERTH_POLICY_WALL_MS",
    doc: "cap on the time of one evaluation of a policy, in ms, 100-30000",
    fallback: 30_000,
    min: 100,
    max: 30_000,
  }),
  policyCpuMs: integerSetting({
    env: "BERTH_POLICY_CPU_MS",
    doc: "cap on the CPU time of one evaluation of a policy, in ms, 100-20000",
    fallback: 20_000,
    min: 100,
    max: 20_000,
  }),
  sandboxDir: textSetting({
    env: "BERTH_SANDBOX_DIR",
    doc: "directory of the memory image that policy workers start from, by default below BERTH_DATA_DIR; programs of one machine may share it",
    fallback: "",
  }),
  policyMemoryMiB: integerSetting({
    env: "BERTH_POLICY_MEMORY_MIB",
    doc: "cap on the memory of a policy, in MiB, 64-256",
    fallback: 256,
    min: 64,
    max: 256,
  }),
};
