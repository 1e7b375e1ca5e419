import type { InstanceSpec } from "../runtime.ts";
import type { InstancePorts } from "./instance-record.ts";
import { instanceName } from "./names.ts";

/** Variables of the agent's own environment that an instance gets. */
const INHERITED = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"] as const;

/** Linux takes no longer argument or variable (MAX_ARG_STRLEN, 32 pages), in bytes with the ending NUL. */
const MAX_STRING_BYTES = 131_072;
/** Bound of all arguments and variables together; Linux takes a quarter of the stack limit, 2 MiB by default. */
const MAX_TOTAL_BYTES = 1_048_576;

/** What a start of an instance gives to its environment, beside the spec. */
export interface StartFacts {
  readonly clusterId: string;
  /** UUID of the data directory. */
  readonly runtimeId: string;
  /** UUID of this start. */
  readonly startId: string;
  readonly ports: InstancePorts;
}

/** Environment of an instance's process: some of the agent's, the component's, then ours, which wins. */
export function instanceEnvironment(
  spec: InstanceSpec,
  start: StartFacts,
  agent: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => {
    const value = agent[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), ...spec.env, ...ownVariables(spec, start) };
}

function ownVariables(spec: InstanceSpec, start: StartFacts): Record<string, string> {
  const uuids = spec.devices.map(({ uuid }) => uuid).join(",");
  const hasDevices = spec.devices.length > 0;
  return {
    INSTANCE_ID: spec.instanceId,
    BLOCK_ID: spec.blockId,
    CLUSTER_ID: start.clusterId,
    NODE_ID: spec.nodeId,
    KUBERNETES_NODE_NAME: spec.nodeId,
    CUDA_VISIBLE_DEVICES: uuids,
    NVIDIA_VISIBLE_DEVICES: hasDevices ? uuids : "void",
    ...(hasDevices ? { NVIDIA_DRIVER_CAPABILITIES: "all" } : {}),
    ...(spec.initDataJson === undefined ? {} : { CUSTOM_INIT_DATA: spec.initDataJson }),
    BERTH_CONTROL_PORT: String(start.ports.control),
    BERTH_METRICS_PORT: String(start.ports.metrics),
    BERTH_RUNTIME_ID: start.runtimeId,
    BERTH_INSTANCE: instanceName(spec),
    BERTH_START: start.startId,
  };
}

/** Why Linux would not start a program with these arguments and variables; undefined when it would. */
export function stringsRefusal(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): string | undefined {
  const named = [
    ...command.map((argument, index) => [`command[${index}]`, argument] as const),
    ...Object.entries(environment).map(
      ([name, value]) => [`env.${name}`, `${name}=${value}`] as const,
    ),
  ];
  const odd = Object.keys(environment).find((name) => name === "" || name.includes("="));
  if (odd !== undefined)
    return `env: expected names without "=", got ${JSON.stringify(odd.slice(0, 80))}`;
  for (const [field, string] of named) {
    if (string.includes("\0")) return `${shown(field)}: expected text without NUL characters`;
    if (Buffer.byteLength(string) >= MAX_STRING_BYTES) {
      return `${shown(field)}: expected less than ${MAX_STRING_BYTES} bytes`;
    }
  }
  const total = named.reduce((sum, [, string]) => sum + Buffer.byteLength(string) + 1, 0);
  if (total <= MAX_TOTAL_BYTES) return undefined;
  return `command and env: expected at most ${MAX_TOTAL_BYTES} bytes together, got ${total}`;
}

function shown(field: string): string {
  return field.replaceAll("\0", "\\0").slice(0, 80);
}
