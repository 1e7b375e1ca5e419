import { BerthError, sleep } from "@berth/service-kit";
import type { ApplyOutcome, BlockSpec, InstanceSpec } from "../runtime.ts";
import { specDigest } from "../spec-digest.ts";
import { executorDeployment, executorRoute, executorService, rootObject } from "./block-objects.ts";
import { type InstanceRules, instanceDeployment, instanceService } from "./instance-objects.ts";
import type { KubeClient } from "./kube-client.ts";
import { isAbsent, isForbidden, refusalOf } from "./kube-error.ts";
import {
  type DeploymentObject,
  type KubeObject,
  type KubeResource,
  pathOf,
  RESOURCES,
} from "./kube-objects.ts";
import { ANNOTATIONS, EXECUTOR, rootName } from "./object-names.ts";
import type { Caches, ObjectRemoval } from "./object-removal.ts";
import { isEnding, isOurs, type Put, putObject } from "./put-object.ts";
import { refused } from "./spec-refusals.ts";

/** What {@link ObjectApplier} needs. */
export interface ApplierDeps {
  readonly client: KubeClient;
  readonly rules: InstanceRules;
  readonly caches: Caches;
  readonly removal: ObjectRemoval;
}

/** Times that what is there is replaced by what shall be, for one call. */
const MAX_ROUNDS = 8;
/** Waits before it is asked again for what was forbidden, ms. */
const FORBIDDEN_RETRIES_MS = [250, 500, 1_000];

/** Makes the objects of blocks and instances be as specified. May be called again after a crash at any moment. */
export class ObjectApplier {
  readonly #deps: ApplierDeps;

  constructor(deps: ApplierDeps) {
    this.#deps = deps;
  }

  /** The root of a block, and what stands beside its instances. */
  async block(spec: BlockSpec, signal: AbortSignal): Promise<ApplyOutcome> {
    const { rules, removal } = this.#deps;
    const wanted = rootObject(spec, rules);
    return await rounds(`the root of block ${spec.blockId}`, async () => {
      const put = await this.#put(RESOURCES.configMap, wanted, { isSame: () => true, signal });
      if (put.kind === "refused") return put.outcome;
      if (put.kind === "other") {
        await removal.block(spec.blockId, signal);
        return undefined;
      }
      const outcome = await this.#executor(spec, put.object, signal);
      if (outcome?.kind === "refused") await removal.block(spec.blockId, signal);
      else if (outcome !== undefined) {
        await this.#deps.caches.roots.untilSeen(put.object, signal);
      }
      return outcome;
    });
  }

  /** An instance: its Deployment, then its Service. */
  async instance(spec: InstanceSpec, signal: AbortSignal): Promise<ApplyOutcome> {
    return await rounds(`instance ${spec.instanceId}`, () => this.#instance(spec, signal));
  }

  async #instance(spec: InstanceSpec, signal: AbortSignal): Promise<ApplyOutcome | undefined> {
    const { rules, caches, removal } = this.#deps;
    const root = await this.#root(spec.blockId, signal);
    if (root === undefined) {
      const message = `block ${spec.blockId} has no root here: apply it first`;
      return refused("PRECONDITION_FAILED", message);
    }
    if (isEnding(root)) {
      await removal.block(spec.blockId, signal);
      return undefined;
    }
    const deployment = instanceDeployment(spec, root, rules);
    const isSame = (found: KubeObject) => isOf(found, root) && isSpecOf(found, spec);
    const put = await this.#put(RESOURCES.deployment, deployment, { isSame, signal });
    if (put.kind === "refused") return put.outcome;
    if (put.kind === "other") {
      await removal.instance(spec, signal);
      return undefined;
    }
    const service = instanceService(spec, put.object, rules);
    const before = await this.#put(RESOURCES.service, service, {
      isSame: (found) => isOf(found, put.object),
      signal,
    });
    if (before.kind !== "put") await removal.instance(spec, signal);
    if (before.kind === "other") return undefined;
    if (before.kind === "refused") return before.outcome;
    await caches.deployments.untilSeen(put.object, signal);
    return { kind: "applied" };
  }

  async #executor(
    spec: BlockSpec,
    root: KubeObject,
    signal: AbortSignal,
  ): Promise<ApplyOutcome | undefined> {
    const { rules } = this.#deps;
    const objects: readonly (readonly [KubeResource, KubeObject | undefined])[] = [
      [RESOURCES.deployment, executorDeployment(spec, root, rules)],
      [RESOURCES.service, executorService(spec, root, rules)],
      [RESOURCES.grpcRoute, executorRoute(spec, root, rules)],
    ];
    for (const [resource, object] of objects) {
      if (object === undefined) continue;
      const isSame = (found: KubeObject) => isOf(found, root);
      const put = await this.#put(resource, object, { isSame, signal });
      if (put.kind === "refused") return put.outcome;
      if (put.kind === "other") {
        await this.#deps.removal.instance({ ...spec, instanceId: EXECUTOR }, signal);
        return undefined;
      }
    }
    return { kind: "applied" };
  }

  /** The root of a block if it is ours. */
  async #root(blockId: string, signal: AbortSignal): Promise<KubeObject | undefined> {
    const { client, rules } = this.#deps;
    const path = pathOf(RESOURCES.configMap, rules.namespace, rootName(blockId));
    const ownership = { operationId: "", fence: { storeId: "", controllerTerm: "" } };
    try {
      const found = await client.read(path, signal);
      const wanted = rootObject({ blockId, ownership }, rules);
      return isOurs(found, wanted) ? found : undefined;
    } catch (thrown) {
      if (isAbsent(thrown)) return undefined;
      throw thrown;
    }
  }

  /** Puts an object; what the API server will not have at all is a refusal. */
  async #put(
    resource: KubeResource,
    object: KubeObject,
    { isSame, signal }: { isSame: (found: KubeObject) => boolean; signal: AbortSignal },
  ): Promise<Exclude<Put, { kind: "foreign" }> | { kind: "refused"; outcome: ApplyOutcome }> {
    const { client, rules } = this.#deps;
    const { namespace } = rules;
    try {
      const request = { resource, namespace, object, isSame };
      const put = await patiently(() => putObject(client, request, signal), signal);
      if (put.kind !== "foreign") return put;
      return { kind: "refused", outcome: refused("CONFLICT", put.message) };
    } catch (thrown) {
      const outcome = refusalOf(thrown);
      if (outcome === undefined) throw thrown;
      return { kind: "refused", outcome };
    }
  }
}

/** Asks again where a right is missing: an API server that has just started does not know all of them for a moment. */
async function patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (const waitMs of FORBIDDEN_RETRIES_MS) {
    try {
      return await ask();
    } catch (thrown) {
      if (!isForbidden(thrown)) throw thrown;
      await sleep(waitMs, signal);
      signal.throwIfAborted();
    }
  }
  return await ask();
}

/** Tries again until a round has an outcome: what was there has to end before what shall be. */
async function rounds(
  what: string,
  round: () => Promise<ApplyOutcome | undefined>,
): Promise<ApplyOutcome> {
  for (let done = 0; done < MAX_ROUNDS; done += 1) {
    const outcome = await round();
    if (outcome !== undefined) return outcome;
  }
  throw new BerthError("UNAVAILABLE", `${what} is changed by somebody else again and again`);
}

function isSpecOf(found: DeploymentObject, spec: InstanceSpec): boolean {
  return found.metadata?.annotations?.[ANNOTATIONS.specDigest] === specDigest(spec);
}

/** Whether an object hangs on this owner, not on an earlier one of its name. */
function isOf(found: KubeObject, { metadata }: KubeObject): boolean {
  const owners = found.metadata?.ownerReferences ?? [];
  return owners.some(({ uid }) => uid === metadata?.uid);
}
