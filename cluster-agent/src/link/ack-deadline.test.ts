import { describe, expect, it } from "vitest";
import { until } from "../testing/fixtures.ts";
import { AckDeadline } from "./ack-deadline.ts";

describe("AckDeadline", () => {
  it("fires when the newest message is not acknowledged", async () => {
    let late = 0;
    const deadline = new AckDeadline(20, () => {
      late += 1;
    });
    deadline.sent(1n);
    deadline.sent(2n);
    deadline.acked(1n);
    await until("the deadline fires", () => late === 1);
    deadline.stop();
  });

  it("holds no timer once everything is acknowledged", () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const deadline = new AckDeadline(60_000, () => undefined);
    deadline.sent(1n);
    deadline.acked(1n);
    const after = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    expect(after).toBe(before);
  });
});
