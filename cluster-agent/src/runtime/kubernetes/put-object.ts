import { BerthError } from "@berth/service-kit";
import type { KubeClient } from "./kube-client.ts";
import { isAbsent, isConflict, isTaken, KubeError, toRuntimeError } from "./kube-error.ts";
import { type KubeObject, type KubeResource, pathOf } from "./kube-objects.ts";
import { LABELS } from "./object-names.ts";

/** What became of an object that was to be put. */
export type Put<T extends KubeObject = KubeObject> =
  | { readonly kind: "put"; readonly object: T }
  /** There is one of this name that is somebody else's; it was not touched. */
  | { readonly kind: "foreign"; readonly message: string }
  /** There is one of ours that is ending, or that cannot become this one. */
  | { readonly kind: "other"; readonly object: T };

/** An object that is to be put. */
export interface PutRequest {
  readonly resource: KubeResource;
  readonly namespace: string;
  readonly object: KubeObject;
  /** Whether one of ours may be changed into this one. */
  readonly isSame: (found: KubeObject) => boolean;
}

/** What says whose an object is. */
const IDENTITY = [LABELS.managedBy, LABELS.cluster, LABELS.block, LABELS.instance];
/** Times that somebody may come in between. */
const MAX_TRIES = 5;
const UNPROCESSABLE = 422;

/**
 * Creates an object, or applies it over the one of ours that is there: forced, on that very object and no other. Rejects with
 * what the API server says.
 */
export async function putObject<T extends KubeObject>(
  client: KubeClient,
  request: PutRequest,
  signal: AbortSignal,
): Promise<Put<T>> {
  const { resource, namespace, object, isSame } = request;
  const path = pathOf(resource, namespace, object.metadata?.name);
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const created = await createdObject<T>(client, request, signal);
    if (created !== undefined) return { kind: "put", object: created };
    try {
      const found = await client.read<T>(path, signal);
      if (!isOurs(found, object)) return { kind: "foreign", message: foreign(request) };
      if (isEnding(found) || !isSame(found)) return { kind: "other", object: found };
      return await applied(client, { path, object, found }, signal);
    } catch (thrown) {
      if (!isAbsent(thrown) && !isConflict(thrown)) throw thrown;
    }
  }
  const message = `${object.kind} ${object.metadata?.name} was changed by somebody else ${MAX_TRIES} times while it was applied`;
  throw new BerthError("UNAVAILABLE", message);
}

/** Whether an object is ending. */
export function isEnding({ metadata }: KubeObject): boolean {
  return metadata?.deletionTimestamp !== undefined;
}

/** Whether an object carries the labels that say whose it is, and of what. */
export function isOurs(found: KubeObject, wanted: KubeObject): boolean {
  return IDENTITY.every((key) => found.metadata?.labels?.[key] === wanted.metadata?.labels?.[key]);
}

async function createdObject<T extends KubeObject>(
  client: KubeClient,
  { resource, namespace, object }: PutRequest,
  signal: AbortSignal,
): Promise<T | undefined> {
  try {
    return await client.create<T>(pathOf(resource, namespace), object, signal);
  } catch (thrown) {
    if (isTaken(thrown)) return undefined;
    throw thrown;
  }
}

/** Applies over one of ours. What cannot be changed so has to be replaced; a missing right is nobody's spec's fault. */
async function applied<T extends KubeObject>(
  client: KubeClient,
  { path, object, found }: { path: string; object: KubeObject; found: T },
  signal: AbortSignal,
): Promise<Put<T>> {
  const { uid } = found.metadata ?? {};
  const meant = { ...object, metadata: { ...object.metadata, uid } };
  try {
    return { kind: "put", object: await client.apply<T>(path, meant, signal) };
  } catch (thrown) {
    if (thrown instanceof KubeError && thrown.status === UNPROCESSABLE) {
      return { kind: "other", object: found };
    }
    if (isAbsent(thrown) || isConflict(thrown)) throw thrown;
    throw toRuntimeError(thrown);
  }
}

function foreign({ object: { kind, metadata }, namespace }: PutRequest): string {
  return `there is a ${kind} ${metadata?.name} in namespace ${namespace} that is not this cluster's agent's; it is left as it is: remove it, or choose another id`;
}
