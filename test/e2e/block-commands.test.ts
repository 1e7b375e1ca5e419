import path from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { berth, type Fleet, startFleet } from "../support/fleet.ts";

const SERVER = path.resolve(import.meta.dirname, "../../examples/blocks/echo/server.js");
const WAIT = { timeout: 20_000, interval: 200 };

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet();
});

afterAll(async () => {
  // Instances outlive their fleet.
  await act({ action: "remove_block", block_id: "shown" });
  await fleet.stop();
});

async function act(fields: object) {
  const response = await fetch(`http://127.0.0.1:${fleet.ports.cluster}/executeAction`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields),
  });
  return response.json();
}

/** What a command prints; throws what it says when it fails. */
async function shown(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await berth(fleet, ...args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

it("shows a block, what it holds and what was asked of it, through the control-plane", async () => {
  const block_data = {
    component: { containerRegistryInfo: { command: [process.execPath, SERVER] } },
    ...{ id: "shown", resources: { cpuMillis: 100, memoryMiB: 64 }, minInstances: 1 },
  };
  expect(await act({ action: "create_block", block_data })).toMatchObject({ success: true });
  await vi.waitFor(async () => expect(await shown("get", "blocks")).toMatch(/ 1\/1 /), WAIT);
  const one = await shown("get", "blocks", "shown", "--cluster", "local");
  expect(one).toMatch(
    /^block +shown\ncluster +local\nphase +running\nready +1\/1 \(at least 1\)\n/,
  );
  expect(one).toMatch(/\nin-\w{8} .* running +yes +0 +http:\/\/127\.0\.0\.1:\d+ /);
  const held = JSON.parse(await shown("get", "allocations", "--block", "shown", "-o", "json"));
  expect(held).toMatchObject([{ cluster_id: "local", cpu_millis: 100, memory: 64, orphan: false }]);
  expect(JSON.parse(await shown("get", "leases", "-o", "json"))).toEqual([]);
});

it("shows operations, and decides none that is not stuck", async () => {
  const list = ["operation", "list", "--block", "shown", "--state", "done", "-o", "json"];
  const [created] = JSON.parse(await shown(...list));
  expect(created).toMatchObject({ action: "create_block", progress: { done: 1, total: 1 } });
  const { operation_id: id } = created;
  expect(await shown("operation", "show", id)).toMatch(
    /\nstate +done\n(.*\n)*progress +1\/1\n(.*\n)*took +\d/,
  );
  await expect(shown("operation", "retry", id)).rejects.toThrow(
    "only a stuck one can be retried or abandoned",
  );
  await expect(shown("get", "blocks", "none")).rejects.toThrow('"none"');
});

it("looks for what is wrong, and says what to do", async () => {
  const post = (route: string, method: string, body: object) =>
    fetch(`http://127.0.0.1:${fleet.ports.cluster}/cluster-actions/${route}`, {
      ...{ method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) },
    });
  const healthy = await berth(fleet, "doctor");
  expect(healthy).toMatchObject({ code: 0 });
  expect(healthy.stderr).toContain("1 clusters, 1 of them live: nothing found");
  await post("add-node", "POST", { id: "late" });
  const map = { add_blok: "limits:1.0-stable" };
  await post("update-cluster", "PATCH", { $set: { "config.actionsPolicyMap": map } });
  expect(JSON.parse(await shown("doctor", "-o", "json"))).toMatchObject([
    { severity: "warning", about: "node late", next: expect.stringContaining("--node late") },
    { severity: "warning", cluster_id: "local", about: "config.actionsPolicyMap.add_blok" },
  ]);
  await post("update-cluster", "PATCH", { $set: { "config.actionsPolicyMap": {} } });
});
