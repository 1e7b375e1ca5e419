import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus, BusMessage } from "../bus/bus.ts";

/** Base of all subjects of the suite; a stream must keep `test.>`. */
const BASE = "test.contract";
const PATIENCE = { timeout: 15_000, interval: 10 };

/** The behaviour that every {@link Bus} driver has. `open` gives one that nobody used before; retries must be short. */
export function busContract(name: string, open: () => Bus | Promise<Bus>): void {
  describe(`${name} as a bus`, { timeout: 30_000 }, () => {
    let bus: Bus;
    beforeEach(async () => {
      bus = await open();
    });
    afterEach(() => bus.close());

    it("hands every subscription every message of its subject in order", async () => {
      const [all, one, other] = [texts(), texts(), texts()];
      await bus.subscribe({ subject: `${BASE}.order.>`, handler: all.handler });
      await bus.subscribe({ subject: `${BASE}.*.a`, handler: one.handler });
      await bus.subscribe({ subject: `${BASE}.order.b`, handler: other.handler });
      const wanted = Array.from({ length: 200 }, (_, at) => String(at));
      await Promise.all(wanted.map((text) => bus.publish({ subject: `${BASE}.order.a`, text })));
      await vi.waitFor(() => expect(all.got).toEqual(wanted), PATIENCE);
      await vi.waitFor(() => expect(one.got).toEqual(wanted), PATIENCE);
      expect(other.got).toEqual([]);
    });

    it("gives a refused message again before later ones and holds nobody else up", async () => {
      const seen: BusMessage[] = [];
      const others = texts();
      let failures = 2;
      await bus.subscribe({ subject: `${BASE}.again`, handler: others.handler });
      await bus.subscribe({
        subject: `${BASE}.again`,
        handler: (message) => {
          seen.push(message);
          if (failures-- > 0) throw new Error("not now");
        },
      });
      await bus.publish({ subject: `${BASE}.again`, text: "first" });
      await bus.publish({ subject: `${BASE}.again`, text: "second" });
      await vi.waitFor(() => expect(seen).toHaveLength(4), PATIENCE);
      expect(seen.map(({ text, redeliveries }) => [text, redeliveries])).toEqual([
        ["first", 0],
        ["first", 1],
        ["first", 2],
        ["second", 0],
      ]);
      await vi.waitFor(() => expect(others.got).toEqual(["first", "second"]), PATIENCE);
    });

    endingCases(() => bus);
    boundCases(() => bus);
  });
}

/** How messages and subscriptions end. */
function endingCases(open: () => Bus): void {
  let bus: Bus;
  beforeEach(() => {
    bus = open();
  });

  it("drops a message that is refused too often and goes on", async () => {
    const got = texts();
    await bus.subscribe({
      subject: `${BASE}.drop`,
      handler: (message) => {
        if (message.text === "bad") throw new Error("never");
        got.handler(message);
      },
    });
    await bus.publish({ subject: `${BASE}.drop`, text: "bad" });
    await bus.publish({ subject: `${BASE}.drop`, text: "good" });
    await vi.waitFor(() => expect(got.got).toEqual(["good"]), PATIENCE);
  });

  it("hands nothing over after stop", async () => {
    const [stopped, going] = [texts(), texts()];
    const subscription = await bus.subscribe({
      subject: `${BASE}.stop`,
      handler: stopped.handler,
    });
    await bus.subscribe({ subject: `${BASE}.stop`, handler: going.handler });
    await bus.publish({ subject: `${BASE}.stop`, text: "1" });
    await vi.waitFor(() => expect(stopped.got).toEqual(["1"]), PATIENCE);
    await subscription.stop();
    await bus.publish({ subject: `${BASE}.stop`, text: "2" });
    await vi.waitFor(() => expect(going.got).toEqual(["1", "2"]), PATIENCE);
    expect(stopped.got).toEqual(["1"]);
  });
}

/** What a bus does not take. */
function boundCases(open: () => Bus): void {
  let bus: Bus;
  beforeEach(() => {
    bus = open();
  });

  it("refuses wrong subjects, wrong names, long texts and what is called off", async () => {
    const handler = () => undefined;
    for (const subject of ["", "a..b", "a b", "a.*", "a.>", "x".repeat(201)]) {
      await expect(bus.publish({ subject, text: "" })).rejects.toMatchObject({
        reason: "INVALID_ARGUMENT",
      });
    }
    for (const subject of ["", ">.a", "a*", "a.b>"]) {
      const wrong = bus.subscribe({ subject, handler });
      await expect(wrong).rejects.toMatchObject({ reason: "INVALID_ARGUMENT" });
    }
    const long = bus.publish({ subject: `${BASE}.long`, text: "é".repeat(256 * 1024 + 1) });
    await expect(long).rejects.toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
    const off = bus.publish({ subject: `${BASE}.off`, text: "" }, AbortSignal.abort());
    await expect(off).rejects.toMatchObject({ reason: "CANCELED" });
  });

  it("takes a text of 512 KiB whole", async () => {
    const got = texts();
    const text = "é".repeat(256 * 1024);
    await bus.subscribe({ subject: `${BASE}.whole`, handler: got.handler });
    await bus.publish({ subject: `${BASE}.whole`, text });
    await vi.waitFor(() => expect(got.got.length).toBe(1), PATIENCE);
    expect(got.got[0] === text).toBe(true);
  });

  it("refuses all after close", async () => {
    await bus.close();
    const late = bus.publish({ subject: `${BASE}.late`, text: "" });
    await expect(late).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(bus.status.isConnected).toBe(false);
  });
}

function texts() {
  const got: string[] = [];
  return {
    got,
    handler: ({ text }: BusMessage) => {
      got.push(text);
    },
  };
}
