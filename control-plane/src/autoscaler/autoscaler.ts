import type { Bus, Clock, DocumentStore, Logger, Part } from "@berth/service-kit";
import type { OrgBooks } from "../org/org-books.ts";
import { profileOf } from "../org/profiles/quota-owners.ts";
import { KeptDocuments } from "../org/store/kept-documents.ts";
import type { BlockGateway } from "../placement/block-gateway.ts";
import { type Applier, plainApplier, refusingApplier } from "./scaling/applier.ts";
import { blockApplier } from "./scaling/block-applier.ts";
import { confirmationListener } from "./scaling/confirmations.ts";
import { Dispatcher } from "./scaling/dispatcher.ts";
import { externalApplier } from "./scaling/external-applier.ts";
import { Outbox } from "./scaling/outbox.ts";
import { ScaleBook } from "./scaling/scale-book.ts";
import type { BusText } from "./scaling/scale-messages.ts";
import type { ScaleRequest } from "./scaling/scale-request.ts";
import { Scaler } from "./scaling/scaler.ts";
import { Scaling } from "./scaling/scaling.ts";
import type { Victims } from "./scaling/victims.ts";

/** What {@link openAutoscaler} needs. */
export interface AutoscalerDeps {
  readonly orgId: string;
  readonly store: DocumentStore;
  readonly books: OrgBooks;
  readonly bus: Bus;
  readonly gateway: Pick<BlockGateway, "find" | "ask" | "act">;
  readonly victims: Victims;
  /** Of an allocator of the org's own; empty: Berth applies requests itself. */
  readonly allocatorUrl: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What scales the subjects of an org. */
export interface Autoscaler {
  readonly scale: ScaleBook;
  readonly scaling: Scaling;
  readonly scaler: Scaler;
  /** To be started in this order: the listener hears before anything is sent. */
  readonly parts: readonly Part[];
}

const APPROVALS_EVERY_MS = 1_000;

/** Opens what the store knows of requests to scale. */
export async function openAutoscaler(deps: AutoscalerDeps): Promise<Autoscaler> {
  const { orgId, store, books, bus, clock, logger } = deps;
  const documents = <T>(collection: string) => new KeptDocuments<T>({ store, orgId, collection });
  const scale = new ScaleBook({
    requests: documents<ScaleRequest>("scale_requests"),
    quotas: documents("scaled_quotas"),
    outbox: documents<BusText>("outbox"),
  });
  books.transactions.add(scale);
  await scale.reload();
  const scaling = new Scaling({ orgId, books, scale, clock });
  const scaler = new Scaler(scaling, scale);
  const dispatcher = new Dispatcher({
    ...{ orgId, scaling, scale, clock, logger },
    applierOf: (request) => applierOf(request, deps),
  });
  const parts = [
    confirmationListener({ orgId, bus, scaling, logger }),
    new Outbox({ scale, transactions: books.transactions, bus, logger }),
    dispatcher,
    approvals(scaling, clock, logger),
  ];
  return { scale, scaling, scaler, parts };
}

function applierOf({ quotaId }: ScaleRequest, deps: AutoscalerDeps): Applier {
  const { allocatorUrl, books, gateway, victims } = deps;
  if (allocatorUrl !== "") return externalApplier(allocatorUrl);
  const profile = profileOf(books.quotas.planned(quotaId).quota);
  if (profile.blockId !== undefined) return blockApplier(profile, { gateway, victims });
  return profile.policyRuleUri === undefined ? plainApplier : refusingApplier(NO_PLACING);
}

const NO_PLACING =
  "policy_rule_uri: replicas without a block are not placed by this version of Berth; name a block_id";

/** Rejects what no human has approved in time. */
function approvals(scaling: Scaling, clock: Clock, logger: Logger): Part {
  let timer: NodeJS.Timeout | undefined;
  return {
    name: "approvals",
    async start() {
      timer = setInterval(() => {
        scaling
          .expireApprovals(Date.parse(clock.timestamp()))
          .catch((err: unknown) => logger.error("approvals could not be ended", { err }));
      }, APPROVALS_EVERY_MS);
      timer.unref();
    },
    stop: async () => clearInterval(timer),
  };
}
