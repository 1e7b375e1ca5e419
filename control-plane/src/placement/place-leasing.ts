import type { Refusal } from "../allocation/agent-asking.ts";
import type { AgentApi } from "../fleet/agent-api.ts";
import { dryRun } from "./dry-runs.ts";
import { releaseLeases, takeLeases } from "./lease-clerk.ts";
import * as course from "./placement-course.ts";
import { attemptOf, type PlacementRecord } from "./placement-record.ts";
import type { PlacementRequest } from "./placement-request.ts";
import { Turns } from "./turns.ts";

/** What is placed, and until when. */
interface Leasing {
  readonly request: PlacementRequest;
  readonly signal: AbortSignal;
}

const DRY_RUN_MS = 15_000;

/** The step of a placement that holds what a dry run named, on the cluster that is being tried. */
export class PlaceLeasing {
  readonly #agents: AgentApi;
  readonly #save: (record: PlacementRecord) => Promise<PlacementRecord>;
  /** Those who lost a place on a cluster choose there anew one after the other; by its id. */
  readonly #choosing = new Map<string, Turns>();

  /** @param save writes down how far a placement has come */
  constructor(agents: AgentApi, save: (record: PlacementRecord) => Promise<PlacementRecord>) {
    this.#agents = agents;
    this.#save = save;
  }

  /** The placement with its places held, and on to the creation, which is not written down yet; or past the cluster. */
  async lease(record: PlacementRecord, leasing: Leasing): Promise<PlacementRecord> {
    const lost = await this.#take(record, leasing);
    if (lost === undefined) return { ...record, phase: "creating" };
    if (!isLost(lost)) return this.#refused(record, lost);
    const { clusterId } = attemptOf(record);
    // Those whose policies may be slow wait for each other only.
    const key = leasing.request.runsPolicies ? `slow ${clusterId}` : clusterId;
    const turn = this.#choosing.get(key) ?? new Turns(1);
    this.#choosing.set(key, turn);
    return turn.run(() => this.#leaseAnew(record, leasing, lost), leasing.signal);
  }

  /** The dry run and the leases right after it, with nobody of this control-plane in between. */
  async #leaseAnew(
    before: PlacementRecord,
    leasing: Leasing,
    first: Refusal,
  ): Promise<PlacementRecord> {
    const { request, signal } = leasing;
    let record = before;
    let lost = first;
    while (isLost(lost) && attemptOf(record).refreshes < course.MAX_REFRESHES) {
      const { clusterId } = attemptOf(record);
      const asked = { clusterId, entryJson: request.entryJson };
      const again = await dryRun(this.#agents, asked, { timeoutMs: DRY_RUN_MS, signal });
      if (again.kind === "refused") return this.#save(course.afterRefusal(record, again.refused));
      const { score, places } = again.answer;
      const named = { score, places: course.leasedPlaces(places, request.need.planned) };
      record = await this.#save(course.withNewPlaces(record, named));
      const refusal = await this.#take(record, leasing);
      if (refusal === undefined) return { ...record, phase: "creating" };
      lost = refusal;
    }
    return this.#refused(record, lost);
  }

  /** Undefined when all is held; nothing is held, or not for long, when it is refused. */
  async #take(record: PlacementRecord, { request, signal }: Leasing): Promise<Refusal | undefined> {
    const { clusterId, leaseIds, places } = attemptOf(record);
    const { entryJson } = request;
    const wanted = { clusterId, leaseIds, places, subject: record.id, entryJson };
    const outcome = await takeLeases(this.#agents, wanted, signal);
    if (outcome.kind === "held") return undefined;
    void releaseLeases(this.#agents, { clusterId, leaseIds });
    return outcome.refusal;
  }

  #refused(record: PlacementRecord, { reason, message }: Refusal): Promise<PlacementRecord> {
    return this.#save(course.afterRefusal(record, { step: "lease", reason, message }));
  }
}

/** Whether somebody else was faster: there may be another place on the same cluster. */
function isLost({ reason }: Refusal): boolean {
  return reason === "CONFLICT";
}
