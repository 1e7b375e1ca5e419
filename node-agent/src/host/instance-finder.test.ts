import { expect, it } from "vitest";
import { InstanceFinder } from "./instance-finder.ts";

const files = new Map([
  ["/proc/7/environ", "BERTH_INSTANCE_ID=by-environment\0"],
  ["/proc/8/environ", "PATH=/bin\0"],
  ["/proc/8/cgroup", "0::/berth-instance-by-group.scope\n"],
]);

async function readFiles(file: string): Promise<string> {
  const text = files.get(file);
  if (text === undefined) throw new Error("ENOENT");
  return text;
}

it("asks the environment first and the control group then", async () => {
  const finder = new InstanceFinder(readFiles);
  const found = await Promise.all([7, 8, 9].map((pid) => finder.instanceOf(pid)));
  expect(found).toEqual(["by-environment", "by-group", ""]);
});

it.each([0, -1, 1.5, Number.NaN])("takes %d for no process", async (pid) => {
  const finder = new InstanceFinder(() => Promise.reject(new Error("must not be read")));
  expect(await finder.instanceOf(pid)).toBe("");
});

it("reads nothing beside a read that hangs, and goes on when it is over", async () => {
  const hanging = Promise.withResolvers<string>();
  let reads = 0;
  let hangs = true;
  const finder = new InstanceFinder((file) => {
    reads += 1;
    return hangs ? hanging.promise : readFiles(file);
  });
  expect(await Promise.all([7, 7, 8].map((pid) => finder.instanceOf(pid)))).toEqual(["", "", ""]);
  expect(reads).toBe(1);
  hangs = false;
  hanging.resolve("");
  await hanging.promise;
  expect(await finder.instanceOf(7)).toBe("by-environment");
});

it("lets at most 512 wait", async () => {
  const finder = new InstanceFinder(readFiles);
  const found = await Promise.all(Array.from({ length: 600 }, () => finder.instanceOf(7)));
  expect(found.filter((id) => id !== "")).toHaveLength(512);
});
