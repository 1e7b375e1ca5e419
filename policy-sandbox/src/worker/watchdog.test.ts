import { expect, test } from "vitest";
import { Watchdog, WatchdogError } from "./watchdog.ts";

test("an action's value and its own error come through", () => {
  const watchdog = new Watchdog();
  expect(watchdog.run(() => 42, 1_000)).toBe(42);
  const error = new TypeError("its own");
  expect(() =>
    watchdog.run(() => {
      throw error;
    }, 1_000),
  ).toThrow(error);
});

test("an action that does not end is stopped, and the next one runs", () => {
  const watchdog = new Watchdog();
  const spin = () => {
    for (;;) {
      // spins until the watchdog comes
    }
  };
  expect(() => watchdog.run(spin, 50)).toThrow(WatchdogError);
  expect(watchdog.run(() => "next", 1_000)).toBe("next");
});
