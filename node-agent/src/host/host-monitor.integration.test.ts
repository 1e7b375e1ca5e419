import { Quality } from "@berth/proto";
import { silentLogger, systemClock } from "@berth/service-kit/base";
import { expect, it, vi } from "vitest";
import { HostFactsReader } from "./host-facts.ts";
import { HostMonitor } from "./host-monitor.ts";
import type { HostEvent } from "./host-source.ts";
import { MountProbe } from "./mount-probe.ts";

it("knows this machine and samples it at the interval it is given", async () => {
  const host = new HostMonitor({ clock: systemClock, logger: silentLogger });
  let samples = 0;
  host.subscribe((event) => {
    if (event === "sample") samples += 1;
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

it("tells when a disk came or went, and samples the disks that are there", async () => {
  const reader = new HostFactsReader(new MountProbe());
  let looks = 0;
  const host = new HostMonitor({
    clock: systemClock,
    logger: silentLogger,
    factsIntervalMs: 0,
    factsReader: {
      read: () => reader.read(),
      refresh: async (before) => {
        looks += 1;
        return looks === 2 ? { ...before, disks: [] } : before;
      },
    },
  });
  const events: HostEvent[] = [];
  host.subscribe((event) => events.push(event));
  await host.start();
  await host.ready;
  host.setIntervalMs(20);
  await vi.waitFor(() => expect(looks).toBeGreaterThan(3), { timeout: 10_000 });
  expect(events.filter((event) => event === "facts")).toHaveLength(1);
  expect(host.facts()?.disks).toEqual([]);
  expect(host.sample()?.disks).toEqual([]);
  await host.stop();
});
