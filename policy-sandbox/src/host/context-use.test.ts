import { expect, test } from "vitest";
import { ContextUse } from "./context-use.ts";

test("a policy of which nothing is known runs alone until it has left an empty context empty", () => {
  const use = new ContextUse();
  expect(use.runsAlone("org/p", "p:1")).toBe(true);
  use.noteEmpty("org/p", "p:1");
  expect(use.runsAlone("org/p", "p:1")).toBe(false);
  expect(use.runsAlone("org/p", "p:2")).toBe(true);
  expect(use.runsAlone("org/q", "p:1")).toBe(true);
});

test("a tenant that keeps something runs alone with all its policies, also those without a context", () => {
  const use = new ContextUse();
  use.noteEmpty("org/p", "p:1");
  expect(use.runsAlone("org/p", null)).toBe(false);
  use.noteKept("org/p");
  use.noteEmpty("org/p", "p:1");
  expect(use.runsAlone("org/p", "p:1")).toBe(true);
  expect(use.runsAlone("org/p", null)).toBe(true);
  expect(use.runsAlone("org/q", null)).toBe(false);
});

test("a tenant that is forgotten runs alone all the same, until it is known again", () => {
  const use = new ContextUse();
  use.noteKept("org/p");
  use.noteEmpty("org/r", "r:1");
  for (let count = 0; count < 5_000; count += 1) {
    use.noteKept(`org/other-${count}`);
    use.noteEmpty(`org/third-${count}`, "t:1");
  }
  expect(use.runsAlone("org/p", "p:1")).toBe(true);
  expect(use.runsAlone("org/r", "r:1")).toBe(true);
});

test("names that are put together alike are not taken for each other", () => {
  const use = new ContextUse();
  use.noteEmpty("org/p", "q\0r");
  expect(use.runsAlone("org/p\0q", "r")).toBe(true);
});
