import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const FOLDER = path.join(import.meta.dirname);
const LISTENING = /^(BERTH_\w+): listening on (.*):(\d+)$/;

let echo: Echo;

/** A running echo block. */
interface Echo {
  readonly process: ChildProcess;
  readonly control: string;
  readonly metrics: string;
}

async function startEcho(env: Record<string, string> = {}): Promise<Echo> {
  const child = spawn(process.execPath, ["server.js"], {
    cwd: FOLDER,
    env: { BERTH_CONTROL_PORT: "0", BERTH_METRICS_PORT: "0", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const urls = new Map<string, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [, variable, host, port] = LISTENING.exec(line) ?? [];
    if (variable !== undefined) urls.set(variable, `http://${host}:${port}`);
    if (urls.size === 2) break;
  }
  const control = urls.get("BERTH_CONTROL_PORT") ?? "";
  return { process: child, control, metrics: urls.get("BERTH_METRICS_PORT") ?? "" };
}

/** Status and JSON that a request is answered with. */
async function ask(route: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const headers = { "content-type": "application/json" };
  const init = body === undefined ? {} : { method: "POST", headers, body: text(body) };
  const response = await fetch(`${echo.control}${route}`, init);
  return { status: response.status, body: await response.json() };
}

function text(body: unknown): string {
  return typeof body === "string" ? body : JSON.stringify(body);
}

beforeEach(async () => {
  echo = await startEcho({
    INSTANCE_ID: "in-1",
    BLOCK_ID: "blk-echo",
    NVIDIA_VISIBLE_DEVICES: "GPU-a,GPU-b",
    CUSTOM_INIT_DATA: '{"weights":"w"}',
  });
});

afterEach(async () => {
  if (echo.process.exitCode !== null || echo.process.signalCode !== null) return;
  echo.process.kill("SIGKILL");
  await once(echo.process, "exit");
});

describe("the echo block", () => {
  it("says that it is healthy, and not for as long as it is told to fail", async () => {
    const healthy = { status: 200, body: { success: true, data: { status: "healthy" } } };
    expect(await ask("/health")).toEqual(healthy);
    const failing = { mgmt_action: "fail_health", mgmt_data: { for_ms: 60_000 } };
    expect((await ask("/mgmt", failing)).status).toBe(200);
    expect(await ask("/health")).toMatchObject({
      status: 503,
      body: { data: { status: "unhealthy" } },
    });
    await ask("/mgmt", { mgmt_action: "reset" });
    expect(await ask("/health")).toEqual(healthy);
  });

  it("answers with what it was asked, where, on what and how", async () => {
    const update = { prefix: "x", nested: { a: 1 } };
    expect(await ask("/setParameters", update)).toEqual({
      status: 200,
      body: { success: true, updated_parameters: update },
    });
    expect((await ask("/infer", { text: "hello ☃" })).body).toEqual({
      success: true,
      data: {
        text: "hello ☃",
        instance_id: "in-1",
        devices: ["GPU-a", "GPU-b"],
        parameters: update,
      },
    });
  });

  it("tells about itself", async () => {
    expect((await ask("/mgmt", { mgmt_action: "info", mgmt_data: {} })).body).toMatchObject({
      success: true,
      data: { block_id: "blk-echo", instance_id: "in-1", init_data: { weights: "w" } },
    });
  });

  it.each([
    ["/mgmt", { mgmt_data: {} }, 400, "mgmt_action is required"],
    ["/mgmt", { mgmt_action: "constructor" }, 400, /mgmt_action: expected one of info, reset/],
    ["/mgmt", { mgmt_action: "fail_health", mgmt_data: { for_ms: -1 } }, 400, /mgmt_data.for_ms/],
    ["/mgmt", { mgmt_action: "info", mgmt_data: 3 }, 400, "mgmt_data: expected an object"],
    ["/infer", {}, 400, "text or data is required"],
    ["/infer", "no json", 400, "body: expected JSON"],
    ["/setParameters", "[]", 400, "body: expected a JSON object"],
    ["/setParameters", { big: "x".repeat(70_000) }, 400, /parameters: expected at most 65536/],
    ["/infer", { text: "x".repeat(1_100_000) }, 413, /body: expected at most 1048576 bytes/],
    ["/nothing", {}, 404, "no such route: POST /nothing"],
  ])("refuses %s with %j", async (route, body, status, message) => {
    const answer = await ask(route, body);
    expect(answer.status).toBe(status);
    expect(answer.body).toMatchObject({ success: false });
    expect((answer.body as { message: string }).message).toMatch(message);
    expect((await ask("/health")).status).toBe(200);
  });

  it("counts what it did, on both ports, and serves nothing else on the metrics port", async () => {
    await ask("/infer", { data: [1, 2] });
    await ask("/infer", {});
    for (const url of [echo.control, echo.metrics]) {
      const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n");
      expect(lines).toContain("on_preprocess_count_total 2");
      expect(lines).toContain("on_data_count_total 1");
      expect(lines).toContain("end_to_end_count_total 1");
      expect(lines).toContain("# TYPE end_to_end_latency gauge");
    }
    expect((await fetch(`${echo.metrics}/health`)).status).toBe(404);
  });

  it("ends at SIGTERM although a connection is open", async () => {
    const { hostname, port } = new URL(echo.control);
    const socket = createConnection({ host: hostname, port: Number(port) });
    await once(socket, "connect");
    echo.process.kill("SIGTERM");
    const [code, signal] = await once(echo.process, "exit");
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    socket.destroy();
  });

  it("ends with a message when it cannot have its port", async () => {
    const { port } = new URL(echo.control);
    const second = spawn(process.execPath, ["server.js"], {
      cwd: FOLDER,
      env: { BERTH_CONTROL_PORT: port, BERTH_METRICS_PORT: "0" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const lines: string[] = [];
    for await (const line of createInterface({ input: second.stderr })) lines.push(line);
    expect(lines.join("\n")).toMatch(
      /^BERTH_CONTROL_PORT: cannot listen on 127.0.0.1:\d+: .*EADDRINUSE/,
    );
  });
});

describe("block.json", () => {
  it("is a create_block for an image, and for a program that exists", () => {
    const body = JSON.parse(readFileSync(path.join(FOLDER, "block.json"), "utf8"));
    const { containerImage, command } = body.block_data.component.containerRegistryInfo;
    expect(body.action).toBe("create_block");
    expect(containerImage).toMatch(/^[a-z-]+:[\d.]+$/);
    const script = path.resolve(FOLDER, "../../..", command[1]);
    expect(script).toBe(path.join(FOLDER, "server.js"));
  });
});
