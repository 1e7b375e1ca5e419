import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { berth, type Fleet, freePorts, launchFleet, startFleet, until } from "../support/fleet.ts";

let dataDir: string;
let fleet: Fleet;

/** A fleet that has run, and whose cluster-agent has lost its store since. */
beforeAll(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), "berth-lost-"));
  const ports = await freePorts();
  const first = await startFleet({ dataDir, ports });
  first.process.kill("SIGTERM");
  await first.exited();
  const agentDir = path.join(dataDir, "cluster-agent");
  const store = readdirSync(agentDir).filter((name) => name.startsWith("cluster.db"));
  expect(store).not.toEqual([]);
  for (const name of store) rmSync(path.join(agentDir, name));
  fleet = await launchFleet({ dataDir, ports });
});

afterAll(() => fleet.stop());

it("a fleet whose cluster-agent lost its store says so, ends after 30 s, and heals by the command that it names", {
  timeout: 180_000,
}, async () => {
  expect(await fleet.exited()).toBe(1);
  const command = /npx berth (delete cluster local --force) --server \S+\n/;
  expect(fleet.output()).toMatch(
    /^the control-plane refuses the cluster-agent \(ALREADY_EXISTS\)/m,
  );
  expect(fleet.output()).toMatch(command);
  expect(fleet.output()).toMatch(/^error: .* \(waiting longer does not change that\)$/m);
  expect(fleet.pids()).toEqual([]);

  fleet = await launchFleet({ dataDir, ports: fleet.ports });
  await until(() => command.test(fleet.output()), {
    limitMs: 30_000,
    what: () => `the command; so far:\n${fleet.output()}`,
  });
  const [, args = ""] = command.exec(fleet.output()) ?? [];
  expect(await berth(fleet, ...args.split(" "))).toMatchObject({ code: 0 });
  await until(() => fleet.output().includes("Berth is ready"), {
    limitMs: 60_000,
    what: () => `the fleet to be ready; so far:\n${fleet.output()}`,
  });
});
