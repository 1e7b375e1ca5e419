import { describe, expect, it } from "vitest";
import { ReplyOrder, type Turn } from "./reply-order.ts";

/** Notes the names of those whose earlier replies have left. */
function listener() {
  const free: string[] = [];
  const listen = (name: string, { earlier }: Turn) => void earlier.then(() => free.push(name));
  return { free, listen };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("ReplyOrder", () => {
  it("lets a reply go when those before it have left or keep no order", async () => {
    const order = new ReplyOrder();
    const { free, listen } = listener();
    const [first, second, third] = [order.next(), order.next(), order.next()];
    listen("second", second);
    listen("third", third);
    second.skip();
    await settled();
    expect(free).toEqual([]);
    first.done();
    await settled();
    expect(free).toEqual(["second", "third"]);
  });

  it("lets everybody go when it ends, though an earlier request never began", async () => {
    const order = new ReplyOrder();
    const { free, listen } = listener();
    order.next();
    listen("behind", order.next());
    order.end();
    await settled();
    expect(free).toEqual(["behind"]);
  });
});
