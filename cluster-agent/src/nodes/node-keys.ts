import type { BerthError, DuplicateWatch, ReplaceKey } from "@berth/service-kit";
import type { NodeNews } from "./node-events.ts";
import type { RegistrationBook } from "./registration-book.ts";

/** What {@link NodeKeys} works with. */
export interface NodeKeysDeps {
  readonly registrations: RegistrationBook;
  readonly watch: DuplicateWatch;
  readonly news: NodeNews;
}

/** What becomes of the keys by which agents speak for nodes, as the enrolment asks and tells. */
export class NodeKeys {
  readonly #deps: NodeKeysDeps;

  constructor(deps: NodeKeysDeps) {
    this.#deps = deps;
  }

  /**
   * Why a token that was not made for a node gets no key in place of the node's, which is told; undefined when it
   * gets one. The agent may be there, or come back by itself.
   */
  refuseReplacement(id: string): BerthError | undefined {
    const { registrations, watch, news } = this.#deps;
    if (registrations.isPresent(id)) watch.keyUsed(id);
    const refusal = watch.keyRefusal(id);
    if (refusal !== undefined) news.keyKept(id, refusal.reason);
    return refusal;
  }

  /** The key of a node is replaced by `replace`. */
  replacing(id: string, replace: ReplaceKey): Promise<void> {
    return this.#deps.watch.keyReplaced(id, replace);
  }

  /** Somebody has got a key as a node, and is about to register. */
  given(id: string): void {
    this.#deps.watch.keyUsed(id);
  }

  /** The key of a node has ended, and at once what was registered by it. */
  ended(id: string): void {
    this.#deps.registrations.end(id, "the key of the node has ended", "UNAUTHENTICATED");
  }

  /** Another machine has asked to enrol as a node, and was refused. */
  secondRefused(id: string, why: string): void {
    this.#deps.news.secondRefused(id, why);
  }
}
