import vm from "node:vm";

/** The action went on past its time, whatever it tried; its thread was stopped from outside. */
export class WatchdogError extends Error {
  override readonly name = "WatchdogError";
}

/**
 * Runs a synchronous action with a limit that nothing inside the action can lift: V8 ends the execution
 * (JavaScript and WebAssembly alike) from a native thread. Not a `Worker`, so no permission is needed.
 */
export class Watchdog {
  readonly #script = new vm.Script("action()");
  readonly #slot: { action: () => void } = { action: () => undefined };
  readonly #context = vm.createContext(this.#slot);

  /** The action's value, or what it throws; throws `WatchdogError` when it is stopped after `limitMs`. */
  run<T>(action: () => T, limitMs: number): T {
    // Told by what the action has got to, not by the error: that is an object of the other context, and when
    // a policy ran it may be the policy's own. Being stopped passes every `catch` by.
    const ended: ({ readonly value: T } | { readonly error: unknown })[] = [];
    this.#slot.action = () => {
      try {
        ended.push({ value: action() });
      } catch (error) {
        ended.push({ error });
      }
    };
    let stopped: WatchdogError | null = null;
    try {
      this.#script.runInContext(this.#context, { timeout: Math.max(1, Math.ceil(limitMs)) });
    } catch {
      stopped = new WatchdogError("out of time");
    }
    const [end] = ended;
    if (end === undefined) throw stopped ?? new WatchdogError("the action did not finish");
    if ("error" in end) throw end.error;
    return end.value;
  }
}
