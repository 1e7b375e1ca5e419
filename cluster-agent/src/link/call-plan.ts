import {
  isJsonObject,
  setMember,
  spliced,
  toNumber,
  valueAt,
  withMember,
} from "@berth/service-kit";

/** A request to the agent's own API. */
export interface ApiRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** JSON text; absent without a body. */
  readonly bodyJson?: string;
}

/** How a request is made for a command. */
export interface CallPlan {
  readonly request: ApiRequest;
  /** Done twice it does what it does once, so that it may be made again when nobody knows whether it was. */
  readonly isRepeatable: boolean;
}

/** What a plan is made for. */
export interface CallOccasion {
  readonly commandId: string;
  /** Time for the answer, ms. */
  readonly timeLeftMs: number;
}

/** An answer that waits for something comes so long before the command's time is over, ms. */
const MARGIN_MS = 1_000;
/** How long `/executeAction` waits when the request does not say, ms. */
const DEFAULT_WAIT_MS = 60_000;
const PLAIN_OPERATORS = ["$set", "$unset"];

type Rule = (request: ApiRequest, occasion: CallOccasion) => CallPlan;

const repeatable: Rule = (request) => ({ request, isRepeatable: true });

/** What is done for requests that are not the same as any other, by method and path. */
const RULES: readonly (readonly [method: string, path: RegExp, rule: Rule])[] = [
  ["GET", /^/, repeatable],
  ["DELETE", /^(\/controller)?\/cluster-actions\/remove-node\/[^/]+$/, planRemoval],
  ["DELETE", /^/, repeatable],
  ["POST", /^(\/blocks)?\/blocks\/query$/, repeatable],
  ["POST", /^(\/controller)?\/executeAction$/, planAction],
  ["POST", /^(\/controller)?\/cluster-actions\/(add-node|(un)?cordon-node(\/[^/]+)?)$/, repeatable],
  ["PATCH", /^(\/controller)?\/cluster-actions\/update-cluster$/, planUpdate],
  ["POST", /^\/leases$/, planLease],
  ["PUT", /^(\/blocks)?\/block\/update\/[^/]+\/[^/]+$/, repeatable],
  ["PUT", /^(\/blocks)?\/block\/update\/[^/]+$/, planUpdate],
];

/**
 * The request that is made for a command: its id is the idempotency key of an action, and the id of a lease, that name
 * none; an action does not wait beyond the command's time. Bodies that are none of the API's stay as they are: it says
 * what is wrong with them. Numbers stay as they were written. Pure.
 */
export function callPlan(request: ApiRequest, occasion: CallOccasion): CallPlan {
  const path = (request.path.split("?")[0] ?? "").replace(/(?<=.)\/$/, "");
  const [, , rule] =
    RULES.find(([method, pattern]) => method === request.method && pattern.test(path)) ?? [];
  return rule === undefined ? { request, isRepeatable: false } : rule(request, occasion);
}

function planAction(request: ApiRequest, occasion: CallOccasion): CallPlan {
  const { bodyJson = "" } = request;
  const body = objectOf(bodyJson);
  if (body === undefined) return { request, isRepeatable: true };
  const data = isJsonObject(body.data) ? body.data : {};
  const { idempotency_key: key, wait = true, timeout_ms: given } = { ...body, ...data };
  let text = bodyJson;
  if (key === undefined) {
    text = withMember(text, "idempotency_key", JSON.stringify(occasion.commandId));
  }
  const limitMs = Math.max(0, Math.floor(occasion.timeLeftMs - MARGIN_MS));
  // What is no time is the API's to refuse.
  const waitsMs = given === undefined ? DEFAULT_WAIT_MS : (toNumber(given) ?? 0);
  if (wait === true && waitsMs > limitMs) {
    const place = Object.hasOwn(data, "timeout_ms") ? ["data"] : [];
    text = withMemberAt(text, place, ["timeout_ms", String(limitMs)]);
  }
  return { request: { ...request, bodyJson: text }, isRepeatable: true };
}

function planLease(request: ApiRequest, { commandId }: CallOccasion): CallPlan {
  const { bodyJson = "" } = request;
  const body = objectOf(bodyJson);
  if (body === undefined || body.lease_id !== undefined) return { request, isRepeatable: true };
  const named = withMember(bodyJson, "lease_id", JSON.stringify(commandId));
  return { request: { ...request, bodyJson: named }, isRepeatable: true };
}

/** The removal of a node is an action whose key stands in the query. */
function planRemoval(request: ApiRequest, { commandId }: CallOccasion): CallPlan {
  const [path = "", query = ""] = request.path.split("?", 2);
  const parameters = new URLSearchParams(query);
  if (parameters.has("idempotency_key")) return { request, isRepeatable: true };
  parameters.set("idempotency_key", commandId);
  return { request: { ...request, path: `${path}?${parameters}` }, isRepeatable: true };
}

/** An update that sets and unsets comes to the same end; one that counts or appends does not. */
function planUpdate(request: ApiRequest): CallPlan {
  const keys = Object.keys(objectOf(request.bodyJson ?? "") ?? {});
  const isPlain = keys.every((key) => !key.startsWith("$") || PLAIN_OPERATORS.includes(key));
  return { request, isRepeatable: isPlain };
}

function withMemberAt(
  text: string,
  path: readonly string[],
  member: readonly [key: string, valueJson: string],
): string {
  const object = valueAt(text, path);
  return object === undefined ? text : spliced(text, [setMember(text, object, member)]);
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
