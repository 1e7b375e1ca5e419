import { spawn } from "node:child_process";
import process from "node:process";
import { expect, it } from "vitest";
import { InstanceFinder } from "./instance-finder.ts";

it("finds the instance of a process of this machine", async () => {
  const env = { ...process.env, BERTH_INSTANCE_ID: "instance-1" };
  const child = spawn(process.execPath, ["-e", "process.stdin.resume()"], {
    stdio: ["pipe", "ignore", "ignore"],
    env,
  });
  try {
    const finder = new InstanceFinder();
    expect(await finder.instanceOf(child.pid ?? 0)).toBe("instance-1");
    expect(await finder.instanceOf(2 ** 30)).toBe("");
  } finally {
    child.kill("SIGKILL");
  }
});
