import type { Logger } from "@berth/service-kit";
import type { OutboxEvent } from "./check-event.ts";
import type { StateBoard } from "./state-board.ts";

/** Longest cluster document that is sent, bytes: with its envelope it fits into one message of 16 MiB. */
export const MAX_DOCUMENT_BYTES = 15 * 1024 * 1024;

/** What {@link ClusterTeller} needs. */
export interface ClusterTellerDeps {
  readonly board: Pick<StateBoard, "set">;
  readonly logger: Logger;
  /** Takes an event for the control-plane; must not throw. */
  readonly onEvent: (event: OutboxEvent) => void;
  /** {@link MAX_DOCUMENT_BYTES} by default. */
  readonly limitBytes?: number;
}

/**
 * Puts the cluster document on the board that the control-plane is told from. One that is too large for a message
 * would break the link at each attempt: the last one that fitted stays there, which is told as an event, once.
 */
export class ClusterTeller {
  readonly #deps: ClusterTellerDeps;
  #isTooLarge = false;

  constructor(deps: ClusterTellerDeps) {
    this.#deps = deps;
  }

  /** Tells the document, as JSON text. */
  tell(json: string): void {
    const { board, logger, limitBytes = MAX_DOCUMENT_BYTES } = this.#deps;
    const sizeBytes = Buffer.byteLength(json);
    if (sizeBytes > limitBytes) {
      this.#refuse({ sizeBytes, limitBytes });
      return;
    }
    if (this.#isTooLarge) {
      logger.info("the cluster document fits into a message again", { sizeBytes, limitBytes });
    }
    this.#isTooLarge = false;
    board.set("cluster", json);
  }

  #refuse(sizes: { readonly sizeBytes: number; readonly limitBytes: number }): void {
    if (this.#isTooLarge) return;
    this.#isTooLarge = true;
    const { logger, onEvent } = this.#deps;
    logger.error(
      "the cluster document is too large to be sent; the last one stays in force",
      sizes,
    );
    onEvent({ kind: "cluster_document_too_large", key: "cluster", facts: { ...sizes } });
  }
}
