import type { BackoffOptions } from "@berth/service-kit";
import type { CommandJournal } from "./command-journal.ts";
import { insist } from "./insist.ts";

/** What {@link LateAcknowledgements} needs. */
export interface LateAcknowledgementsDeps {
  readonly journal: Pick<CommandJournal, "acknowledge">;
  readonly retry: BackoffOptions;
  /** Ends the attempts; the control-plane then acknowledges anew to the next process. */
  readonly signal: AbortSignal;
  /** Hears of failures, as `insist` tells them. */
  readonly onFailure: (commandId: string, thrown: unknown) => void;
}

/**
 * Acknowledgements that the store did not take: written one after the other once it does. Until then the
 * journal would keep those results for ever. No more of them than the journal has entries.
 */
export class LateAcknowledgements {
  readonly #deps: LateAcknowledgementsDeps;
  readonly #ids = new Set<string>();
  #writing: Promise<void> | undefined;

  constructor(deps: LateAcknowledgementsDeps) {
    this.#deps = deps;
  }

  /** Takes one in. */
  add(commandId: string): void {
    this.#ids.add(commandId);
    this.#writing ??= this.#write();
  }

  /** Resolves when nothing is being written; soon after the signal was aborted. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { journal, retry, signal, onFailure } = this.#deps;
    // Those that are added meanwhile have their turn in the same walk.
    for (const id of this.#ids) {
      if (signal.aborted) break;
      const options = { retry, signal, onFailure: (thrown: unknown) => onFailure(id, thrown) };
      await insist(() => journal.acknowledge(id), options);
      this.#ids.delete(id);
    }
    this.#writing = undefined;
  }
}
