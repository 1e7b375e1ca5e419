import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup } from "./testing/agent.ts";
import { until } from "./testing/fixtures.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function program(env: Record<string, string>) {
  const dataDir = await cleanup.directory();
  const child = spawn(process.execPath, [MAIN], {
    env: {
      BERTH_DATA_DIR: dataDir,
      BERTH_HTTP_PORT: "0",
      BERTH_NODE_PORT: "0",
      BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9",
      ...env,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const exited = once(child, "exit").then(([code]) => code as number | null);
  cleanup.add(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const output = { log: "", err: "" };
  child.stdout.on("data", (data) => {
    output.log += String(data);
  });
  child.stderr.on("data", (data) => {
    output.err += String(data);
  });
  return { child, exited, output };
}

describe("the cluster-agent program", () => {
  it("starts without a control-plane and stops on SIGTERM with code 0", async () => {
    const { child, exited, output } = await program({});
    await until("it has started", () => output.log.includes('"started"'));
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
    expect(output.err).toBe("");
  });

  it("leaves with its supervisor: it stops when standard input closes", async () => {
    const { child, exited, output } = await program({ BERTH_SUPERVISED: "1" });
    await until("it has started", () => output.log.includes('"started"'));
    child.stdin.end();
    expect(await exited).toBe(0);
  });

  it.each(["BERTH_ENROLMENT_TOKEN", "BERTH_LOCAL_TOKEN"])(
    "refuses to start with a malformed %s, with one line that names the setting but not the text",
    async (setting) => {
      const { exited, output } = await program({ [setting]: "a-secret" });
      expect(await exited).toBe(1);
      expect(output.err.trim().split("\n")).toHaveLength(1);
      expect(output.err).toContain(setting);
      expect(output.err + output.log).not.toContain("a-secret");
    },
  );

  it("refuses a data directory that cannot be used, with a message that names the file", async () => {
    const { exited, output } = await program({ BERTH_DATA_DIR: "/dev/null/x" });
    expect(await exited).toBe(1);
    expect(output.err).toContain("/dev/null/x");
  });
});
