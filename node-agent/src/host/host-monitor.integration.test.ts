import { Quality } from "@berth/proto";
import { silentLogger, systemClock } from "@berth/service-kit/base";
import { expect, it, vi } from "vitest";
import { HostMonitor } from "./host-monitor.ts";

it("knows this machine and samples it at the interval it is given", async () => {
  const host = new HostMonitor({ clock: systemClock, logger: silentLogger });
  let samples = 0;
  host.subscribe(() => {
    samples += 1;
  });
  await host.start();
  await host.ready;
  const facts = host.facts();
  expect(facts?.cpu?.logicalCores).toBeGreaterThan(0);
  expect(facts?.memoryMib).toBeGreaterThan(0n);
  expect(facts?.hostname).not.toBe("");
  expect(facts?.networkInterfaces.map((one) => one.name)).not.toContain("lo");
  expect(host.sample()).toBeUndefined();
  host.setIntervalMs(50);
  await vi.waitFor(() => expect(samples).toBeGreaterThanOrEqual(3), { timeout: 10_000 });
  const sample = host.sample();
  expect(sample?.quality).toBe(Quality.MEASURED);
  expect(sample?.memoryAvailableMib).toBeGreaterThan(0n);
  expect(sample?.memoryAvailableMib).toBeLessThanOrEqual(facts?.memoryMib ?? 0n);
  expect(sample?.disks.map((disk) => disk.mountPoint)).toEqual(
    facts?.disks.map((disk) => disk.mountPoint),
  );
  expect(sample?.processesTotal).toBeGreaterThan(0);
  await host.stop();
});
