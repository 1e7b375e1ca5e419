import { toBerthError } from "@berth/service-kit";
import type { AllocationProfile } from "../../org/profiles/allocation-profile.ts";
import { type GpuAmounts, gpusText } from "../../org/quotas/gpu-amounts.ts";
import {
  type Applied,
  type Applier,
  type ApplyContext,
  allocatedResponse,
  failedResponse,
  isPassing,
} from "./applier.ts";
import type { Placed, Placer } from "./placer.ts";
import { MAX_PLACES, placesFields } from "./replica-place.ts";
import type { ReplicaPlaces } from "./replica-places.ts";
import type { ScaleRequest } from "./scale-request.ts";
import type { Victims } from "./victims.ts";

/** What {@link placeApplier} works with. */
export interface PlaceApplierDeps {
  readonly placer: Placer;
  readonly places: ReplicaPlaces;
  readonly victims: Victims;
}

/** Whether a policy chooses a place for each replica of a quota. */
export function placesReplicas({ blockId, policyRuleUri }: AllocationProfile): boolean {
  return blockId === undefined && policyRuleUri !== undefined;
}

/** Characters of what is told to people. */
const MAX_MESSAGE = 2_000;

/**
 * Brings the places of a quota to a number: the profile's policy chooses each new one, which is held and kept before the next is
 * asked for, and those that go are given back when their end is written. What is kept counts when a request is applied once more.
 */
export function placeApplier(profile: AllocationProfile, deps: PlaceApplierDeps): Applier {
  return {
    async apply(request, context) {
      const { quotaId, replicas } = request;
      if (replicas > MAX_PLACES) {
        const why = `replica_count: expected at most ${MAX_PLACES} replicas that a policy places, got ${replicas}`;
        return failed(why, deps.places.of(quotaId).length);
      }
      return deps.places.of(quotaId).length > replicas
        ? shrink(request, { profile, deps }, context)
        : grow(request, { profile, deps }, context);
    },
  };
}

interface How {
  readonly profile: AllocationProfile;
  readonly deps: PlaceApplierDeps;
}

async function grow(
  request: ScaleRequest,
  { profile, deps }: How,
  context: ApplyContext,
): Promise<Applied | undefined> {
  const { placer, places } = deps;
  const { quotaId, replicas } = request;
  const said: string[] = [];
  while (places.of(quotaId).length < replicas) {
    const replica = places.of(quotaId).length;
    const asked = { request, profile, replica };
    const asking = await attempt(() => placer.place(asked, context.signal), context);
    const placed = asking.kind === "done" ? asking.result : asking;
    if (placed.kind !== "placed") {
      said.push(placed.why);
      break;
    }
    const warning = gpusWarning(placed.gpus, profile.gpusPerReplica);
    if (warning !== undefined) said.push(`replica ${replica} ${warning}`);
    const isWanted = await kept(request, placed, deps);
    if (!isWanted) return undefined;
  }
  const found = places.of(quotaId);
  const message = said.length === 0 ? undefined : said.join("; ").slice(0, MAX_MESSAGE);
  if (found.length === 0 && message !== undefined) return failed(message, 0);
  const response = { ...allocatedResponse(found.length, message), ...placesFields(found, []) };
  return { response, gone: [] };
}

type Attempted<T> =
  | { readonly kind: "done"; readonly result: T }
  | { readonly kind: "failed"; readonly why: string };

/** What a policy is asked for, or why it failed. Throws what may pass. */
async function attempt<T>(
  ask: () => Promise<T>,
  { signal, isLast }: ApplyContext,
): Promise<Attempted<T>> {
  try {
    return { kind: "done", result: await ask() };
  } catch (thrown) {
    const { reason, message } = toBerthError(thrown);
    if (signal.aborted || (isPassing(reason) && !isLast)) throw thrown;
    return { kind: "failed", why: message };
  }
}

/** Nothing comes and nothing goes: there are `count` places, for which the quota is charged. */
function failed(why: string, count: number): Applied {
  return { response: failedResponse(why.slice(0, MAX_MESSAGE), count), gone: [] };
}

/** Writes a place down; what could not be written is not held. */
async function kept(
  request: ScaleRequest,
  { place }: Placed & { readonly kind: "placed" },
  { placer, places }: PlaceApplierDeps,
): Promise<boolean> {
  try {
    return await places.add(request, place);
  } catch (thrown) {
    await placer.release([place]);
    throw thrown;
  }
}

async function shrink(
  { quotaId, subjectId, replicas }: ScaleRequest,
  { profile, deps }: How,
  context: ApplyContext,
): Promise<Applied> {
  const { placer, places, victims } = deps;
  const found = places.of(quotaId);
  const shown = found.map(({ id, clusterId, nodeId, placedAt }) => {
    return { id, clusterId, nodeId, createdAt: placedAt, ready: true };
  });
  const { victimPolicyRuleUri: uri } = profile;
  const asked = { subjectId, count: found.length - replicas, uri };
  const picked = await attempt(() => victims.choose(shown, asked, context.signal), context);
  if (picked.kind === "failed") return failed(picked.why, found.length);
  const ids = new Set(picked.result);
  const left = found.filter(({ id }) => !ids.has(id));
  const gone = found.filter(({ id }) => ids.has(id));
  return {
    response: { ...allocatedResponse(left.length), ...placesFields(left, gone) },
    gone: [...ids],
    afterwards: () => placer.release(gone),
  };
}

/** What is to be said when a replica has other GPUs than are charged for it. */
function gpusWarning(held: GpuAmounts, wanted: GpuAmounts): string | undefined {
  const flavors = Object.keys(wanted);
  if (flavors.length === 0) return undefined;
  const isSame = [...flavors, ...Object.keys(held)].every((one) => held[one] === wanted[one]);
  if (isSame) return undefined;
  return `has ${amountsText(held)}, where gpus_per_replica says ${amountsText(wanted)}`;
}

function amountsText(amounts: GpuAmounts): string {
  const texts = Object.entries(amounts).map(([flavor, milli]) => `${gpusText(milli)} of ${flavor}`);
  return texts.length === 0 ? "no GPUs" : texts.join(", ");
}
