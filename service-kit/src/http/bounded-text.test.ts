import { expect, it } from "vitest";
import { boundedText } from "./bounded-text.ts";

it("gives a text that fits, and of a longer one the beginning", async () => {
  expect(await boundedText(new Response("été"), 5)).toEqual({ text: "été", isWhole: true });
  expect(await boundedText(new Response("abcdef"), 5)).toEqual({ text: "abcde", isWhole: false });
  expect(await boundedText(new Response(null), 5)).toEqual({ text: "", isWhole: true });
});

it("reads no more than that of what has no end", async () => {
  let pulled = 0;
  let isCanceled = false;
  const endless = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(new Uint8Array(1_000));
    },
    cancel() {
      isCanceled = true;
    },
  });
  expect((await boundedText(new Response(endless), 2_500)).isWhole).toBe(false);
  expect(pulled).toBeLessThan(6);
  expect(isCanceled).toBe(true);
});
