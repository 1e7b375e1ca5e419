import { validate } from "@berth/service-kit";
import { type Static, Type } from "typebox";
import type { BlockSpec, InstanceSpec } from "../runtime.ts";

/** The two ports of an instance on 127.0.0.1. */
export interface InstancePorts {
  readonly control: number;
  readonly metrics: number;
}

/** instance.json: what shall run. Written before anything is started. */
export interface InstanceRecord {
  readonly spec: InstanceSpec;
  readonly specDigest: string;
  /** Kept over restarts of the program; chosen again when somebody else has one of them. */
  readonly ports: InstancePorts;
  /** It is being removed, and never started again. */
  readonly isRemoved: boolean;
}

/** One process of one boot. */
export interface KnownProcess {
  readonly pid: number;
  readonly startTicks: number;
}

/** state.json: how the program was last started. Losing it (power loss) loses the counts, never an instance. */
export interface InstanceState {
  /** `BERTH_START` of the last start; written before it. */
  readonly startId: string;
  /** Of what was started. */
  readonly specDigest: string;
  /** Times that it was started again. */
  readonly restarts: number;
  /** Starts in a row that ended soon: they make the delay before the next one. */
  readonly failures: number;
  /** A pid means nothing in another boot, or another container. */
  readonly bootId: string;
  /** Whether this start was seen to happen. */
  readonly hasRun: boolean;
  /** Absent when the agent ended between the start and this note, and after a reboot. */
  readonly process?: KnownProcess | undefined;
  /** Processes of the instance that nothing in them tells any more; absent when there were none at the last look. */
  readonly kin?: readonly KnownProcess[] | undefined;
}

const text = Type.String();
const natural = Type.Integer({ minimum: 0 });
const amount = Type.Number();
const ownershipSchema = Type.Object({
  operationId: text,
  fence: Type.Object({ storeId: text, controllerTerm: text }),
});
const blockSchema = Type.Object({ blockId: text, ownership: ownershipSchema });
const deviceSchema = Type.Object({
  uuid: text,
  slot: Type.Integer(),
  memoryMiB: amount,
  isShared: Type.Optional(Type.Literal(true)),
});
const specSchema = Type.Object({
  blockId: text,
  instanceId: text,
  nodeId: text,
  image: Type.Optional(text),
  command: Type.Optional(Type.Array(text)),
  env: Type.Record(text, text),
  initDataJson: Type.Optional(text),
  devices: Type.Array(deviceSchema),
  cpuMillis: amount,
  memoryMiB: amount,
  storageMiB: amount,
  allocationId: text,
  ownership: ownershipSchema,
});
const recordSchema = Type.Object({
  spec: specSchema,
  specDigest: text,
  ports: Type.Object({ control: natural, metrics: natural }),
  isRemoved: Type.Boolean(),
});
const processSchema = Type.Object({ pid: natural, startTicks: natural });
const stateSchema = Type.Object({
  startId: text,
  specDigest: text,
  restarts: natural,
  failures: natural,
  bootId: text,
  hasRun: Type.Boolean(),
  process: Type.Optional(processSchema),
  kin: Type.Optional(Type.Array(processSchema)),
});

/** Why a spec could not be read again once it is written; undefined when it could. */
export function specShapeRefusal(spec: unknown): string | undefined {
  return shapeRefusal(specSchema, spec);
}

/** Why a block could not be read again once it is written; undefined when it could. */
export function blockShapeRefusal(spec: unknown): string | undefined {
  return shapeRefusal(blockSchema, spec);
}

/** Reads block.json; throws a sentence that says what is wrong with it. */
export function parseBlock(json: string): BlockSpec {
  return checked(blockSchema, json);
}

/** Reads instance.json; throws a sentence that says what is wrong with it. */
export function parseRecord(json: string): InstanceRecord {
  const { spec, ...rest } = checked(recordSchema, json);
  const { image, command, initDataJson } = spec;
  return { ...rest, spec: { ...spec, image, command, initDataJson } };
}

/** Reads state.json of this boot; undefined for any other text: the program counts as never started. */
export function parseState(json: string, bootId: string): InstanceState | undefined {
  try {
    const state: Static<typeof stateSchema> = checked(stateSchema, json);
    return state.bootId === bootId
      ? state
      : { ...state, bootId, process: undefined, kin: undefined };
  } catch (thrown) {
    if (thrown instanceof RecordError) return undefined;
    throw thrown;
  }
}

/** A file that does not hold what Berth wrote. */
export class RecordError extends Error {
  override readonly name = "RecordError";
}

function shapeRefusal(schema: Parameters<typeof validate>[0], value: unknown): string | undefined {
  // As it will be read: JSON has no NaN.
  const result = validate(schema, JSON.parse(JSON.stringify(value)));
  return result.kind === "invalid" ? result.message : undefined;
}

function checked<S extends Parameters<typeof validate>[0]>(schema: S, json: string): Static<S> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new RecordError("it is not JSON", { cause });
  }
  const result = validate(schema, value);
  if (result.kind === "invalid") throw new RecordError(result.message);
  return result.value;
}
