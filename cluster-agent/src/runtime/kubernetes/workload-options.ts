import { readFileSync } from "node:fs";
import { BerthError, isBerthError, parse } from "@berth/service-kit";
import { loadYaml } from "@kubernetes/client-node";
import { type Static, Type } from "typebox";

const closed = { additionalProperties: false };
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const portName = Type.String({ pattern: "^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$" });
const quantity = Type.String({ pattern: "^[0-9.]{1,12}([a-zA-Z]{1,2})?$" });
const environment = Type.Record(Type.String(), Type.String());
const serviceType = Type.Union([
  Type.Literal("ClusterIP"),
  Type.Literal("NodePort"),
  Type.Literal("LoadBalancer"),
]);

const container = Type.Object(
  {
    name: Type.String({ pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" }),
    image: Type.String({ minLength: 1, maxLength: 512 }),
    command: Type.Optional(Type.Array(Type.String())),
    args: Type.Optional(Type.Array(Type.String())),
    env: Type.Optional(environment),
    ports: Type.Optional(
      Type.Array(Type.Object({ name: portName, port }, closed), { maxItems: 16 }),
    ),
    resources: Type.Optional(Type.Record(Type.String(), quantity)),
  },
  closed,
);

const toleration = Type.Object(
  {
    key: Type.Optional(Type.String()),
    operator: Type.Optional(Type.Union([Type.Literal("Exists"), Type.Literal("Equal")])),
    value: Type.Optional(Type.String()),
    effect: Type.Optional(Type.String()),
    tolerationSeconds: Type.Optional(Type.Integer()),
  },
  closed,
);

/** What an operator says of the objects that blocks are made of: the file of `BERTH_KUBERNETES_WORKLOADS`. */
export const workloadOptionsSchema = Type.Object(
  {
    imagePullSecrets: Type.Optional(Type.Array(Type.String(), { maxItems: 16 })),
    runtimeClassName: Type.Optional(Type.String()),
    tolerations: Type.Optional(Type.Array(toleration, { maxItems: 32 })),
    runAsUser: Type.Optional(Type.Integer({ minimum: 1 })),
    runAsGroup: Type.Optional(Type.Integer({ minimum: 1 })),
    fsGroup: Type.Optional(Type.Integer({ minimum: 1 })),
    terminationGraceSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600 })),
    readinessPeriodSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 300 })),
    instance: Type.Optional(
      Type.Object(
        {
          env: Type.Optional(environment),
          sidecars: Type.Optional(Type.Array(container, { maxItems: 8 })),
        },
        closed,
      ),
    ),
    executor: Type.Optional(
      Type.Object(
        {
          containers: Type.Array(container, { minItems: 1, maxItems: 16 }),
          env: Type.Optional(environment),
          serviceType: Type.Optional(serviceType),
        },
        closed,
      ),
    ),
    route: Type.Optional(
      Type.Object(
        { gateway: Type.String(), namespace: Type.Optional(Type.String()), port },
        closed,
      ),
    ),
  },
  closed,
);

/** A value of {@link workloadOptionsSchema}. */
export type WorkloadOptions = Static<typeof workloadOptionsSchema>;
/** A container of an operator's own beside ours. */
export type ExtraContainer = Static<typeof container>;

/** Checks options; INVALID_ARGUMENT names the field and what was expected. */
export function parseWorkloadOptions(value: unknown): WorkloadOptions {
  const options = parse(workloadOptionsSchema, value);
  if (options.route !== undefined && options.executor === undefined) {
    throw new BerthError("INVALID_ARGUMENT", "route: expected an executor that it leads to");
  }
  const sidecars = options.instance?.sidecars ?? [];
  if (sidecars.some(({ name }) => name === "instance")) {
    throw new BerthError(
      "INVALID_ARGUMENT",
      'instance.sidecars: "instance" is the name of the component\'s own container',
    );
  }
  return options;
}

/** Reads options from a file of YAML or JSON; without a file there are none. INVALID_ARGUMENT names the file. */
export function readWorkloadOptions(file: string): WorkloadOptions {
  if (file === "") return {};
  try {
    return parseWorkloadOptions(loadYaml(readFileSync(file, "utf8")) ?? {});
  } catch (thrown) {
    const why = isBerthError(thrown) || thrown instanceof Error ? thrown.message : String(thrown);
    throw new BerthError("INVALID_ARGUMENT", `BERTH_KUBERNETES_WORKLOADS: ${file}: ${why}`, {
      cause: thrown,
    });
  }
}
