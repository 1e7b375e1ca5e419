import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus, hostname, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { hasExternal } from "@berth/service-kit/testing/external";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { answerOf, post } from "../support/client.ts";
import { pythonWithWebsockets } from "../support/external.ts";
import { berth, type Fleet, run, startFleet } from "../support/fleet.ts";

const POLICY = "least-loaded:1.0.0-stable";
const NODE = hostname().toLowerCase();

let fleet: Fleet;
let rest: string;

beforeAll(async () => {
  fleet = await startFleet();
  rest = `http://127.0.0.1:${fleet.ports.http}`;
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
});

afterAll(() => fleet.stop());

/** Runs a script in a page of a real browser and gives the first text that it posts to /told. */
async function inBrowser(script: string): Promise<string> {
  const profile = mkdtempSync(path.join(tmpdir(), "berth-chromium-"));
  const { promise: told, resolve: tell } = Promise.withResolvers<string>();
  const page = createServer((request, response) => {
    if (request.url !== "/told") {
      response.setHeader("content-type", "text/html");
      response.end(`<body><script>${script}</script></body>`);
      return;
    }
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      response.end();
      tell(text);
    });
  });
  await new Promise<void>((resolve) => page.listen(0, "127.0.0.1", resolve));
  const browser = spawn(
    "chromium",
    [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
      `--user-data-dir=${profile}`,
      `http://127.0.0.1:${(page.address() as AddressInfo).port}/`,
    ],
    { detached: true, stdio: "ignore" },
  );
  const ended = once(browser, "exit");
  try {
    return await Promise.race([told, ended.then(() => "the browser ended")]);
  } finally {
    process.kill(-(browser.pid ?? 0), "SIGKILL");
    await ended;
    page.closeAllConnections();
    page.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}

describe("berth up", () => {
  it("prints the URLs, the cluster, the node with what it really has, and the next command", () => {
    const output = fleet.output();
    for (const port of [fleet.ports.http, fleet.ports.ws, fleet.ports.cluster]) {
      expect(output).toContain(`:${port}`);
    }
    expect(output).toContain("local");
    expect(output).toContain(NODE);
    expect(output).toContain(String(cpus().length));
    expect(output).toMatch(/GPUs?\W+none/i);
    expect(output).toContain("berth policy publish examples/policies/least-loaded");
  });

  it("shows the node in the cluster document and on the cluster-agent", async () => {
    const document = await answerOf(fetch(`${rest}/clusters/local`));
    const [node] = document.nodes.nodeData;
    expect(node).toMatchObject({ id: NODE, vcpus: { count: cpus().length } });
    expect(Math.abs((node?.memory ?? 0) - totalmem() / 1024 / 1024)).toBeLessThan(16);
    const agent = `http://127.0.0.1:${fleet.ports.cluster}`;
    const healthy = await answerOf(fetch(`${agent}/healthy_nodes`));
    expect(healthy).toEqual({ success: true, nodes: [NODE] });
    const status = await answerOf(fetch(`${agent}/nodes_status`));
    expect(status.nodes_status).toMatchObject([{ node_id: NODE, status: "healthy" }]);
    const own = await answerOf(fetch(`${agent}/cluster-actions/get-cluster`));
    expect(own).toMatchObject({ success: true, data: { id: "local", nodes: { count: 1 } } });
  });
});

describe("publishing and allocating", () => {
  it("publishes the example policy, twice with the same answer", async () => {
    for (const _time of [1, 2]) {
      const result = await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
      expect(result).toMatchObject({ code: 0, stderr: "" });
      expect(result.stdout).toContain(POLICY);
    }
  });

  it.each([
    ["json", (text: string) => JSON.parse(text)],
    ["yaml", (text: string) => parseYaml(text)],
  ])("prints the placement as %s", async (format, read) => {
    const result = await berth(fleet, "allocate", "--policy", POLICY, "-o", format);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(read(result.stdout)).toMatchObject({ cluster_id: "local", node_id: NODE });
  });

  it("prints the placement as a table", async () => {
    const result = await berth(fleet, "allocate", "--policy", POLICY);
    expect(result.stdout).toMatch(/CLUSTER\s+NODE\s+GPUS/);
    expect(result.stdout).toContain(NODE);
  });

  it("answers unschedulable with reasons when the GPUs are not there", async () => {
    const reply = await post(
      fleet,
      "/allocate",
      JSON.stringify({ policy_rule_uri: POLICY, inputs: { gpus: 4 } }),
    );
    expect(reply.status).toBe(200);
    const { success, data } = await answerOf(reply);
    expect(success).toBe(true);
    expect(data).toMatchObject({ cluster_id: null, unschedulable: true });
    expect(data.reasons.length).toBeGreaterThan(0);
  });

  it("answers curl on POST /allocate", async () => {
    const body = JSON.stringify({ adhoc: true, policy_rule_uri: POLICY, inputs: {} });
    const args = [
      "-sS",
      "-X",
      "POST",
      `${rest}/allocate`,
      "-H",
      "content-type: application/json",
      "-d",
      body,
    ];
    const { stdout } = await run("curl", args);
    expect(JSON.parse(stdout)).toMatchObject({ success: true, data: { cluster_id: "local" } });
  });

  it.each([
    [
      "zip",
      "import zipfile,sys; z=zipfile.ZipFile(sys.argv[2],'w'); z.write(sys.argv[1],'code/function.py'); z.close()",
    ],
    [
      "tar.xz",
      "import tarfile,sys; t=tarfile.open(sys.argv[2],'w:xz'); t.add(sys.argv[1],'code/function.py'); t.close()",
    ],
  ])("publishes a %s of nothing but code/function.py, with flags", async (suffix, script) => {
    const directory = mkdtempSync(path.join(tmpdir(), "berth-archive-"));
    const archive = path.join(directory, `policy.${suffix}`);
    const source = "examples/policies/least-loaded/code/function.py";
    expect((await run("python3", ["-c", script, source, archive])).code).toBe(0);
    const name = `from-${suffix.replace(".", "-")}`;
    const flags = ["--name", name, "--version", "2.0", "--tag", "beta"];
    const published = await berth(fleet, "policy", "publish", archive, ...flags);
    expect(published).toMatchObject({ code: 0, stderr: "" });
    const result = await berth(fleet, "allocate", "--policy", `${name}:2.0-beta`, "-o", "json");
    expect(JSON.parse(result.stdout)).toMatchObject({ cluster_id: "local" });
    const body = {
      ...{ name: `${name}-rest`, version: "1", release_tag: "t" },
      archive: readFileSync(archive).toString("base64"),
    };
    const byRest = await answerOf(post(fleet, "/policy", JSON.stringify(body)));
    const byCli = await answerOf(fetch(`${rest}/policy/${name}:2.0-beta`));
    expect(byRest).toMatchObject({ success: true, data: { digest: byCli.data.digest } });
    rmSync(directory, { recursive: true });
  });
});

describe("archives and mistakes of users", () => {
  it("takes name, version and defaults from a policy.yaml inside an archive", async () => {
    const directory = mkdtempSync(path.join(tmpdir(), "berth-archive-"));
    const archive = path.join(directory, "policy.zip");
    const script =
      "import zipfile,sys; z=zipfile.ZipFile(sys.argv[1],'w'); z.writestr('p/code/function.py', sys.argv[2]); z.writestr('p/policy.yaml', sys.argv[3]); z.close()";
    const source =
      "class AIOSv1PolicyRule:\n    def __init__(self, *a): pass\n    def eval(self, p, i, c):\n        return {'cluster_id': None, 'saw': repr(p)}\n";
    const manifest = "name: zipped\nversion: '3'\ntag: t\npolicy_parameters: {a: 10.0}\n";
    expect((await run("python3", ["-c", script, archive, source, manifest])).code).toBe(0);
    const published = await berth(fleet, "policy", "publish", archive);
    expect(published).toMatchObject({ code: 0, stderr: "" });
    const result = await berth(fleet, "allocate", "--policy", "zipped:3-t", "-o", "json");
    expect(JSON.parse(result.stdout)).toMatchObject({ saw: "{'a': 10.0}" });
    rmSync(directory, { recursive: true });
  });

  it("names unknown clusters on standard error", async () => {
    const result = await berth(fleet, "allocate", "--policy", POLICY, "--cluster", "zz");
    expect(result.code).toBe(3);
    expect(result.stderr).toContain("warning: clusters: there is no cluster zz");
  });
});

describe("the seed's clients", () => {
  it.skipIf(!hasExternal(pythonWithWebsockets(), ["-c", "import websockets"]))(
    "the Python example works as printed, given the two URIs",
    async () => {
      const printed = readFileSync(path.join(import.meta.dirname, "seed-client.py"), "utf8");
      const program = printed
        .replace("ws://<server-url>:8765", `ws://127.0.0.1:${fleet.ports.ws}`)
        .replace('"policy_rule_uri": ""', `"policy_rule_uri": "${POLICY}"`);
      const { stderr } = await run(pythonWithWebsockets(), ["-c", program]);
      const response = /Response received: (.*)/.exec(stderr)?.[1];
      expect(JSON.parse(response ?? stderr)).toMatchObject({
        success: true,
        data: { cluster_id: "local", node_id: NODE },
      });
    },
  );

  it.skipIf(!hasExternal("chromium", ["--version"]))(
    "a browser's WebSocket works from a page on this machine",
    async () => {
      const message = JSON.stringify({ adhoc: true, policy_rule_uri: POLICY, inputs: {} });
      const script = `
        const socket = new WebSocket("ws://127.0.0.1:${fleet.ports.ws}");
        const tell = (text) => fetch("/told", { method: "POST", body: text });
        socket.onopen = () => socket.send(${JSON.stringify(message)});
        socket.onmessage = (event) => tell(event.data);
        socket.onerror = () => tell("refused");`;
      const told = await inBrowser(script);
      expect(JSON.parse(told)).toMatchObject({ success: true, data: { cluster_id: "local" } });
    },
  );

  it("Node's own WebSocket works on port 8765 and on /ws/allocate", async () => {
    const message = JSON.stringify({ adhoc: true, policy_rule_uri: POLICY, inputs: {} });
    for (const url of [
      `ws://localhost:${fleet.ports.ws}/any/path`,
      `${rest.replace("http", "ws")}/ws/allocate`,
    ]) {
      const socket = new WebSocket(url);
      const reply = await new Promise((resolve, reject) => {
        socket.onopen = () => socket.send(message);
        socket.onmessage = (event) => resolve(JSON.parse(String(event.data)));
        socket.onerror = () => reject(new Error(`cannot connect to ${url}`));
      });
      socket.close();
      expect(reply).toMatchObject({ success: true, data: { cluster_id: "local" } });
    }
  });
});
