import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { Quality } from "@berth/proto";
import { openAuthority } from "@berth/service-kit";
import { type Part, startAll, stopAll } from "@berth/service-kit/base";
import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { composeNodeAgent, type NodeAgentReplacements } from "./compose.ts";
import { GPU_TIMINGS } from "./gpu/gpu-timings.ts";
import { LINK_TIMINGS } from "./report/node-link.ts";
import { collectingLogger, type LogLine } from "./testing/collecting-logger.ts";
import { type FakeSmiRun, fakeSmiRun } from "./testing/fake-smi-run.ts";
import { type NodeServer, type NodeServerOptions, startNodeServer } from "./testing/node-server.ts";

const SECRET = "t".repeat(43);
const TOKEN = `berth1.${SECRET}`;
const WAIT = { timeout: 8_000, interval: 20 };
const FAST: NodeAgentReplacements = {
  gpuTimings: { ...GPU_TIMINGS, restartFirstMs: 20, relistMs: 200 },
  // A busy machine may take longer than the grace of production to start what plays nvidia-smi.
  linkTimings: { ...LINK_TIMINGS, gpuGraceMs: 8_000, backoff: { firstMs: 20, capMs: 100 } },
};

let fake: FakeSmiRun;
let dataDir = "";
let server: NodeServer;
let servers: NodeServer[] = [];
let parts: readonly Part[] = [];
let lines: LogLine[] = [];
const logger = () => collectingLogger(lines);

async function serve(options: Partial<NodeServerOptions> = {}) {
  server = await startNodeServer({ secret: SECRET, ...options });
  servers.push(server);
}

interface Overrides {
  token?: string;
  port?: number;
  url?: string;
}

function config(overrides: Overrides = {}) {
  return {
    dataDir,
    clusterAgentUrl: overrides.url ?? `http://127.0.0.1:${overrides.port ?? server.port}`,
    enrolmentToken: overrides.token ?? TOKEN,
    caFile: "",
    nodeId: "node-1",
    nvidiaSmi: "nvidia-smi",
    kernelLog: path.join(dataDir, "kernel-log"),
    metricsPort: 0,
    metricsHost: "127.0.0.1",
    allowedHosts: [],
    allowedOrigins: [],
  };
}

async function begin(overrides: Overrides = {}) {
  parts = composeNodeAgent(config(overrides), logger(), { ...FAST, smi: fake.smi });
  await startAll(parts, logger());
}

beforeEach(async () => {
  lines = [];
  servers = [];
  parts = [];
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-node-agent-"));
  fake = await fakeSmiRun("h100");
  await serve();
});

afterEach(async () => {
  await stopAll(parts, logger());
  for (const one of servers) one.kill();
  expect(await fake.alive()).toEqual([]);
  await fake.dispose();
  await rm(dataDir, { recursive: true, force: true });
});

it("registers with its fingerprint and streams host and GPU samples, numbered", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(6), WAIT);
  const [request] = server.registrations;
  expect(request).toMatchObject({ nodeId: "node-1", nodeIncarnation: 1n, agentVersion: "0.1.0" });
  expect(request?.fingerprint?.gpus).toHaveLength(8);
  expect(request?.fingerprint?.identity?.machineId).not.toBe("");
  expect(request?.fingerprint?.memoryMib).toBeGreaterThan(0n);
  await vi.waitFor(() => expect(server.reports.some((report) => report.host)).toBe(true), WAIT);
  expect(server.reports.map((report) => Number(report.streamSeq))).toEqual(
    server.reports.map((_report, index) => index + 1),
  );
  expect(new Set(server.reports.map((report) => report.registrationId))).toEqual(
    new Set(["registration-1"]),
  );
  const measured = server.reports.findLast((report) => report.gpus.length > 0)?.gpus ?? [];
  expect(measured).toHaveLength(8);
  expect(measured.every((sample) => sample.quality === Quality.MEASURED)).toBe(true);
  expect(server.reports.slice(1).every((report) => report.fingerprint === undefined)).toBe(true);
});

it("keeps that its start was answered, for the starts after it", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(0), WAIT);
  const state = JSON.parse(await readFile(path.join(dataDir, "node-agent.json"), "utf8"));
  expect(state.answeredId).toBe(server.registrations[0]?.agentInstanceId);
  expect(state).toMatchObject({ incarnation: 1, instanceIds: [state.answeredId] });
});

it("registers again, without a new incarnation, when the server ends the stream", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  server.endStreams("the test wants it");
  await vi.waitFor(() => expect(server.registrations).toHaveLength(2), WAIT);
  await vi.waitFor(() => {
    const last = server.reports.at(-1);
    expect(last?.registrationId).toBe("registration-2");
  }, WAIT);
  const again = server.reports.filter((report) => report.registrationId === "registration-2");
  expect(again[0]?.streamSeq).toBe(1n);
  expect(server.registrations[1]?.nodeIncarnation).toBe(1n);
});

it("tells of the starts of its data directory before this one", async () => {
  await begin();
  await vi.waitFor(() => expect(server.registrations).toHaveLength(1), WAIT);
  await stopAll(parts, logger());
  await begin();
  await vi.waitFor(() => expect(server.registrations).toHaveLength(2), WAIT);
  const [first, second] = server.registrations;
  expect(first?.formerInstanceIds).toEqual([]);
  expect(second?.formerInstanceIds).toEqual([first?.agentInstanceId]);
  expect(second?.agentInstanceId).not.toBe(first?.agentInstanceId);
});

it("comes back when the server was killed and is there again", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  const { port } = server;
  server.kill();
  await vi.waitFor(() => expect(lines.some(isLinkWarning)).toBe(true), WAIT);
  await serve({ port });
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  // The cut stream and the refused connection after it may have two codes; each is told once.
  const codes = lines.filter(isLinkWarning).map((line) => line.fields.code);
  expect(new Set(codes).size).toBe(codes.length);
});

it("starts before its server does", async () => {
  const { port } = server;
  server.kill();
  await begin({ port });
  await vi.waitFor(() => expect(lines.some(isLinkWarning)).toBe(true), WAIT);
  await serve({ port });
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
});

it("counts its starts: the next one registers with a higher incarnation", async () => {
  await begin();
  await vi.waitFor(() => expect(server.registrations).toHaveLength(1), WAIT);
  await stopAll(parts, logger());
  await begin();
  await vi.waitFor(() => expect(server.registrations).toHaveLength(2), WAIT);
  expect(server.registrations[1]?.nodeIncarnation).toBe(2n);
});

it.each([
  [status.PERMISSION_DENIED, /cluster-agent\.key/],
  [status.ALREADY_EXISTS, /BERTH_NODE_ID/],
  [status.INVALID_ARGUMENT, /fingerprint/],
])(
  "logs refusal %i once with a hint, and goes on trying until it is lifted",
  async (code, hint) => {
    server.refuse(code);
    await begin();
    await vi.waitFor(() => expect(server.registrations.length).toBeGreaterThan(4), WAIT);
    const errors = lines.filter((line) => line.level === "error");
    expect(errors).toHaveLength(1);
    expect(errors[0]?.fields.hint).toMatch(hint);
    server.refuse(undefined);
    await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  },
);

describe("enrolment", () => {
  const keyFile = () => readFile(path.join(dataDir, "cluster-agent.key"), "utf8");

  it("enrols its own key once, and later starts register without the token", async () => {
    await begin();
    await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
    const key = (await keyFile()).trim();
    const keySha256 = createHash("sha256").update(key).digest();
    const machineId = server.registrations[0]?.fingerprint?.identity?.machineId;
    expect(server.enrolments).toHaveLength(1);
    expect(server.enrolments[0]).toMatchObject({
      subjectId: "node-1",
      identity: `machine:${machineId}`,
    });
    expect(Buffer.from(server.enrolments[0]?.keySha256 ?? [])).toEqual(keySha256);
    await stopAll(parts, logger());
    await begin({ token: "" });
    await vi.waitFor(() => expect(server.registrations).toHaveLength(2), WAIT);
    expect(server.enrolments).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain(key);
    const [first, second] = server.registrations.map((one) => one.agentInstanceId);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).not.toBe(first);
  });

  it("enrols again when the cluster-agent has forgotten its key", async () => {
    await begin();
    await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
    server.forgetKeys();
    server.endStreams("the test wants it");
    await vi.waitFor(() => expect(server.enrolments).toHaveLength(2), WAIT);
    await vi.waitFor(() => expect(server.registrations).toHaveLength(2), WAIT);
    const ids = server.registrations.map((one) => one.agentInstanceId);
    expect(ids[0]).toBe(ids[1]);
  });

  it("says without a token what to set, once, and goes on trying", async () => {
    await begin({ token: "" });
    await vi.waitFor(() => expect(lines.some((line) => line.level === "error")).toBe(true), WAIT);
    const errors = () => lines.filter((line) => line.level === "error");
    expect(errors()[0]?.fields).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(errors()[0]?.fields.hint).toContain("BERTH_ENROLMENT_TOKEN");
    expect(server.enrolments).toEqual([]);
    expect(errors()).toHaveLength(1);
  });

  it("never logs its token, nor tries it more than once a round", async () => {
    const secret = "w".repeat(43);
    await begin({ token: `berth1.${secret}` });
    await vi.waitFor(() => expect(server.enrolments.length).toBeGreaterThan(2), WAIT);
    const errors = lines.filter((line) => line.level === "error");
    expect(errors).toHaveLength(1);
    expect(errors[0]?.fields.hint).toContain("the enrolment token is not valid any more");
    expect(JSON.stringify(lines)).not.toContain(secret);
    expect(server.registrations).toEqual([]);
  });

  it("does not start with a malformed token, and does not show it", async () => {
    const begun = begin({ token: "no-token" });
    await expect(begun).rejects.toThrow(/^BERTH_ENROLMENT_TOKEN: (?!.*no-token)/);
  });

  it("does not start with a damaged key, and names the file", async () => {
    await writeFile(path.join(dataDir, "cluster-agent.key"), "short");
    await expect(begin()).rejects.toThrow(/cluster-agent\.key is damaged/);
  });
});

describe("over TLS", () => {
  async function serveTls(names: readonly string[] = ["127.0.0.1", "localhost"]) {
    const authority = await openAuthority(path.join(dataDir, "ca"));
    const { key, cert } = await authority.issue(names);
    await serve({ tls: { key, cert } });
    return authority;
  }

  it.each(["127.0.0.1", "localhost"])(
    "trusts the CA that the token pins, at https://%s",
    async (host) => {
      const { pin } = await serveTls();
      await begin({ token: `${TOKEN}.${pin}`, url: `https://${host}:${server.port}` });
      await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
    },
  );

  it.each([
    ["127.0.0.1", "10.9.8.7"],
    ["localhost", "elsewhere.example.org"],
  ])("does not trust https://%s with a certificate of that CA for %s", async (host, name) => {
    const { pin } = await serveTls([name]);
    await begin({ token: `${TOKEN}.${pin}`, url: `https://${host}:${server.port}` });
    await vi.waitFor(() => expect(lines.some(isLinkWarning)).toBe(true), WAIT);
    expect(lines.find(isLinkWarning)?.fields.message).toContain("altnames");
    expect(server.enrolments).toEqual([]);
  });

  it("shows neither key nor token to a server with another CA", async () => {
    await serveTls();
    const token = `${TOKEN}.${"p".repeat(43)}`;
    await begin({ token, url: `https://127.0.0.1:${server.port}` });
    await vi.waitFor(() => expect(lines.some((line) => line.level === "error")).toBe(true), WAIT);
    expect(server.enrolments).toEqual([]);
    expect(server.registrations).toEqual([]);
  });

  it("says what to set when it knows no CA", async () => {
    await serveTls();
    await begin({ url: `https://127.0.0.1:${server.port}` });
    await vi.waitFor(() => expect(lines.some((line) => line.level === "error")).toBe(true), WAIT);
    const [error] = lines.filter((line) => line.level === "error");
    expect(error?.fields).toMatchObject({ code: "PRECONDITION_FAILED" });
    expect(error?.fields.message).toContain("BERTH_CA_FILE");
  });
});

it("sends the new fingerprint when the GPU set changes", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  await fake.play("h100-7");
  await vi.waitFor(() => {
    const sent = server.reports.filter((report) => report.fingerprint !== undefined);
    expect(sent.at(-1)?.fingerprint?.gpus).toHaveLength(7);
  }, WAIT);
  await vi.waitFor(() => expect(server.reports.at(-1)?.gpus.length ?? 0).toBeLessThan(8), WAIT);
});

it("registers with the topology, and sends details when they are new, not with every sample", async () => {
  await fake.play("a100-mig");
  const gpuTimings = { ...GPU_TIMINGS, detailsMs: 1_000 };
  parts = composeNodeAgent(config(), logger(), { ...FAST, gpuTimings, smi: fake.smi });
  await startAll(parts, logger());
  const withGpus = () => server.reports.filter((report) => report.gpus.length > 0);
  const withDetails = () => withGpus().filter((report) => report.gpus[0]?.details !== undefined);
  await vi.waitFor(() => expect(withDetails().length).toBeGreaterThan(2), WAIT);
  const topology = server.registrations[0]?.fingerprint?.gpuTopology;
  expect(topology?.rows[3]?.links).toEqual(["NV4", "NV4", "NV4", "X", "SYS", "PXB"]);
  expect(server.registrations[0]?.fingerprint?.gpus[2]?.migDevices).toHaveLength(7);
  expect(withDetails()[0]).toBe(withGpus()[0]);
  expect(withDetails()[0]?.gpus[1]?.details?.migDevices).toHaveLength(4);
  expect(withGpus().length).toBeGreaterThan(2 * withDetails().length);
});

it("joins as a node without GPUs where there is no nvidia-smi", async () => {
  parts = composeNodeAgent(config(), logger(), {
    ...FAST,
    smi: { command: "/nonexistent/nvidia-smi" },
  });
  await startAll(parts, logger());
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  expect(server.registrations[0]?.fingerprint).toMatchObject({ gpus: [], gpuError: "" });
  expect(server.reports.every((report) => report.gpus.length === 0)).toBe(true);
  expect(server.reports.some((report) => report.host !== undefined)).toBe(true);
});

it("goes on after a server that did not read, without gaps in the numbers", async () => {
  server.setReading(false);
  await begin();
  await vi.waitFor(() => expect(server.openStreams()).toBe(1), WAIT);
  expect(server.reports).toEqual([]);
  server.setReading(true);
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(3), WAIT);
  expect(server.reports.map((report) => Number(report.streamSeq))).toEqual(
    server.reports.map((_report, index) => index + 1),
  );
});

it("composes several agents in one process that know nothing of each other", async () => {
  const folders = ["a", "b", "c"].map((name) => path.join(dataDir, name));
  const agents = folders.map((folder, index) =>
    composeNodeAgent({ ...config(), dataDir: folder, nodeId: `node-${index}` }, logger(), {
      ...FAST,
      smi: { command: "/nonexistent/nvidia-smi" },
      identity: { machineId: `machine-${index}`, bootId: "boot" },
    }),
  );
  parts = agents.flat();
  await startAll(parts, logger());
  await vi.waitFor(() => expect(server.openStreams()).toBe(3), WAIT);
  const ids = server.registrations.map((request) => request.fingerprint?.identity?.machineId);
  expect(new Set(ids)).toEqual(new Set(["machine-0", "machine-1", "machine-2"]));
  await stopAll(parts, logger());
  await vi.waitFor(() => expect(server.openStreams()).toBe(0), WAIT);
});

it("refuses to start in a data directory that it cannot write", async () => {
  parts = composeNodeAgent({ ...config(), dataDir: "/dev/null/x" }, logger(), {
    ...FAST,
    smi: fake.smi,
  });
  await expect(startAll(parts, logger())).rejects.toThrow(/^BERTH_DATA_DIR: /);
});

function isLinkWarning(line: LogLine): boolean {
  return line.level === "warn" && line.message.startsWith("no link");
}
