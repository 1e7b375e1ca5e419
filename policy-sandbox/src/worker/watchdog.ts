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

  /** The action's value; throws `WatchdogError` after `limitMs`. */
  run<T>(action: () => T, limitMs: number): T {
    const results: T[] = [];
    this.#slot.action = () => {
      results.push(action());
    };
    try {
      this.#script.runInContext(this.#context, { timeout: Math.max(1, Math.ceil(limitMs)) });
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "ERR_SCRIPT_EXECUTION_TIMEOUT") throw new WatchdogError("out of time");
      throw error;
    }
    const [result] = results;
    if (results.length !== 1) throw new WatchdogError("the action did not finish");
    return result as T;
  }
}
