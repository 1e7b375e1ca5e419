import { BerthError, isJsonObject, typeName } from "@berth/service-kit";

type Update = Readonly<Record<string, unknown>>;

/** Turns the body of a sub-route into an update of the entry. */
type Reader = (body: Update) => Update;

/** The sub-routes of `PUT /block/update/<id>/…` that set one field: its name in the body, and in the entry. */
const FIELDS: Readonly<Record<string, readonly [inBody: string, inEntry: string]>> = {
  type: ["blockType", "blockType"],
  policies: ["policies", "policies"],
  init_data: ["blockInitData", "blockInitData"],
  custom_metrics: ["customMetrics", "customMetrics"],
  init_settings: ["initSettings", "initSettings"],
  init_parameters: ["initParameters", "initParameters"],
  parameters: ["parameters", "parameters"],
  min_instances: ["minInstances", "minInstances"],
  max_instances: ["maxInstances", "maxInstances"],
  adhoc_enabled: ["adhocEnabled", "adhocEnabled"],
  input_protocols: ["inputProtocols", "inputProtocol"],
  output_protocols: ["outputProtocols", "outputProtocol"],
};

/**
 * The sub-routes of `PUT /block/update/<id>/…` by name, as the existing deployment has them: each takes `{field: value}`
 * and nothing beside, `metadata` its whole body. `cluster` is not among them: it is derived.
 */
export const ENTRY_UPDATES: ReadonlyMap<string, Reader> = new Map([
  ["metadata", (body: Update) => ({ $set: { blockMetadata: body } })],
  ...Object.entries(FIELDS).map(([name, [inBody, inEntry]]): [string, Reader] => [
    name,
    (body) => ({ $set: { [inEntry]: onlyField(body, inBody) } }),
  ]),
]);

/** Why the body of `PUT /block/update/<id>/cluster` is refused: it names another cluster than the block's. */
export function refuseOtherCluster(body: Update, clusterId: string): void {
  const named = onlyField(body, "cluster");
  const id = isJsonObject(named) ? named.id : named;
  if (id === clusterId) return;
  const expected = `expected ${JSON.stringify(clusterId)}, this cluster, or its document`;
  const got = typeof id === "string" ? JSON.stringify(id.slice(0, 100)) : typeName(id);
  throw new BerthError(
    "INVALID_ARGUMENT",
    `cluster: ${expected}, got ${got}; a block does not move`,
  );
}

function onlyField(body: Update, field: string): unknown {
  const beside = Object.keys(body).find((key) => key !== field);
  if (beside !== undefined) {
    const message = `${beside.slice(0, 200)}: expected nothing but ${field}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  if (Object.hasOwn(body, field)) return body[field];
  throw new BerthError("INVALID_ARGUMENT", `${field}: required field is missing`);
}
