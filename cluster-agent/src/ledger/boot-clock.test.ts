import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openBootClock } from "./boot-clock.ts";

describe("openBootClock", () => {
  it("names the kernel's boot, and counts on", async () => {
    const clock = await openBootClock();
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    expect(clock.bootId).toBe(bootId);
    expect(clock.nowMs()).toBeLessThanOrEqual((await openBootClock()).nowMs());
  });

  it("makes each process a boot of its own where the kernel tells none", async () => {
    const [one, other] = await Promise.all([openBootClock("/nowhere"), openBootClock("/nowhere")]);
    expect(one.bootId).not.toBe("");
    expect(one.bootId).not.toBe(other.bootId);
  });
});
