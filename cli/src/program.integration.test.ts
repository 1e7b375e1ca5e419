import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runBerth } from "./program.ts";

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly type: string | undefined;
  readonly body: string;
}

const success = (data: string) => ({ status: 200, text: `{"success":true,"data":${data}}` });

describe("berth", () => {
  let server: Server;
  let url: string;
  let seen: Seen[];
  let answer: { status: number; text: string } | "never";
  let cwd: string;

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      seen.push({
        method: request.method ?? "",
        url: request.url ?? "",
        type: request.headers["content-type"],
        body: Buffer.concat(chunks).toString(),
      });
      if (answer !== "never") response.writeHead(answer.status).end(answer.text);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    seen = [];
    answer = success("[]");
    cwd = mkdtempSync(join(tmpdir(), "berth-cli-"));
  });
  afterEach(() => rmSync(cwd, { recursive: true, force: true }));

  async function berth(...args: string[]) {
    const written = { stdout: "", stderr: "" };
    const output = (name: "stdout" | "stderr") => ({
      write: (text: string) => {
        written[name] += text;
      },
    });
    const code = await runBerth(
      {
        args,
        env: { BERTH_SERVER: url },
        cwd,
        execPath: "",
        pid: 1,
        stdout: output("stdout"),
        stderr: output("stderr"),
        kill: () => undefined,
        onStopRequest: () => undefined,
        onOutputClosed: () => undefined,
        onResize: () => () => undefined,
        onKeys: () => () => undefined,
      },
      { "control-plane": "", "cluster-agent": "", "node-agent": "", simulator: "" },
    );
    return { code, ...written };
  }

  it("publishes a folder with its policy.yaml, overridden by flags", async () => {
    mkdirSync(join(cwd, "p/code"), { recursive: true });
    writeFileSync(join(cwd, "p/code/function.py"), "x = 1\n");
    writeFileSync(join(cwd, "p/policy.yaml"), "name: p\nversion: 1.0.0\n");
    answer = success('{"policy_rule_uri":"p:2.0.0-stable","digest":"abc"}');
    const run = await berth("policy", "publish", "p", "--version", "2.0.0");
    expect(run).toEqual({ code: 0, stdout: "published p:2.0.0-stable (abc)\n", stderr: "" });
    expect(seen[0]).toMatchObject({ method: "POST", url: "/policy", type: "application/json" });
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({
      name: "p",
      version: "2.0.0",
      release_tag: "stable",
      files: { "code/function.py": "x = 1\n" },
    });
  });

  it("lists policies and gets one by its URI", async () => {
    await berth("policy", "list");
    answer = success('{"policy_rule_uri":"a:1-s"}');
    const run = await berth("policy", "get", "a/b:1-s", "-o", "yaml");
    expect(run.stdout).toBe("policy_rule_uri: a:1-s\n");
    expect(seen.map((request) => request.url)).toEqual(["/policies", "/policy/a%2Fb%3A1-s"]);
  });

  it("deletes clusters at the control-plane and nodes at a cluster-agent", async () => {
    answer = success('{"message":"Node deleted"}');
    const run = await berth("delete", "node", "n/1", "--force", "--agent", url);
    expect(run).toEqual({ code: 0, stdout: "n/1: Node deleted\n", stderr: "" });
    await berth("delete", "node", "n2", "--agent", url);
    await berth("delete", "cluster", "c", "--force");
    expect(seen.map((request) => `${request.method} ${request.url}`)).toEqual([
      "DELETE /nodes/n%2F1?force=true",
      "DELETE /nodes/n2",
      "DELETE /clusters/c?force=true",
    ]);
  });

  it("prints a placement", async () => {
    answer = success('{"cluster_id":"c","node_id":"n","gpus":["0"]}');
    const run = await berth("allocate", "--policy", "p:1-s", "--gpus", "1", "--input", "x=10.0");
    expect(run).toEqual({
      code: 0,
      stdout: "CLUSTER  NODE  GPUS\nc        n     0\n",
      stderr: "",
    });
    expect(seen[0]?.body).toBe('{"policy_rule_uri":"p:1-s","inputs":{"x":10.0,"gpus":1}}');
  });

  it("exits with 3 when nothing fits, in every form of output", async () => {
    answer = success('{"cluster_id":null,"unschedulable":true,"reasons":["c: full"]}');
    const table = await berth("allocate", "--policy", "p:1-s");
    expect(table).toEqual({ code: 3, stdout: "unschedulable\n  c: full\n", stderr: "" });
    expect((await berth("allocate", "--policy", "p:1-s", "-o", "json")).code).toBe(3);
  });

  it("prints a new token alone on standard output, and what to do with it beside it", async () => {
    const token = `berth1.${"s".repeat(43)}.${"p".repeat(43)}`;
    answer = success(
      `{"token":"${token}","id":"0123456789","cluster_id":"berlin","max_uses":1,"expires_at":"2026-01-02T00:00:00.000Z"}`,
    );
    const run = await berth("token", "create", "--cluster", "berlin", "--ttl", "30m");
    expect(run).toMatchObject({ code: 0, stdout: `${token}\n` });
    expect(run.stderr).toContain("token 0123456789 for cluster berlin, until 2026-01-02");
    expect(run.stderr).toContain("BERTH_CONTROL_PLANE_URL=https://<control-plane>:7443\n");
    expect(run.stderr).not.toContain(token);
    expect(seen[0]).toMatchObject({ method: "POST", url: "/tokens", type: "application/json" });
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({
      cluster_id: "berlin",
      ttl_s: 1800,
      max_uses: 1,
    });
    const json = await berth("token", "create", "-o", "json");
    expect(json.stderr).toBe("");
    expect(JSON.parse(json.stdout)).toMatchObject({ token });
  });

  it("asks the cluster-agent for tokens of node-agents", async () => {
    const args = ["--agent", url, "--server", "http://127.0.0.1:9"];
    answer = success('{"token":"berth1.x","id":"0","node_id":"gpu-7","max_uses":1}');
    const made = await berth("token", "create", "--node", "gpu-7", ...args);
    expect(made.stderr).toContain("BERTH_CLUSTER_AGENT_URL=http://<cluster-agent>:32001\n");
    expect(made.stderr).toContain("BERTH_NODE_HOST opens the port to others, with TLS");
    answer = success('[{"id":"0","node_id":null,"uses":3,"max_uses":0,"label":null}]');
    const listed = await berth("token", "list", "--node", ...args);
    expect(listed.stdout).toBe(
      "TOKEN  FOR  USES   EXPIRES  LABEL\n0      any  3/any  -        -\n",
    );
    answer = success('{"id":"a/b"}');
    const revoked = await berth("token", "revoke", "a/b", "--node", ...args);
    expect(revoked.stdout).toBe("revoked a/b\n");
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "POST /tokens",
      "GET /tokens",
      "DELETE /tokens/a%2Fb",
    ]);
    const gone = await berth("token", "list", "--node", "--agent", "http://127.0.0.1:9");
    expect(gone.stderr).toMatch(/--agent or BERTH_AGENT_SERVER choose another address\n$/);
  });

  it("prints the server's data as JSON with its numbers untouched", async () => {
    answer = success('[{"id":"c","memory":10.0,"big":9223372036854775809}]');
    const run = await berth("get", "events", "-o", "json");
    expect(run.stdout).toBe(
      '[\n  {\n    "id": "c",\n    "memory": 10.0,\n    "big": 9223372036854775809\n  }\n]\n',
    );
  });

  it("prints one line and exits with 1 when the server refuses", async () => {
    answer = {
      status: 404,
      text: '{"success":false,"error":"x","message":"no policy\\n p","reason":"NOT_FOUND"}',
    };
    const run = await berth("policy", "get", "p:1-s");
    expect(run).toEqual({ code: 1, stdout: "", stderr: "error: no policy p (NOT_FOUND)\n" });
  });

  it("says what to do when no server answers", async () => {
    const run = await berth("get", "nodes", "--server", "http://127.0.0.1:9");
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(
      /^error: http:\/\/127\.0\.0\.1:9 cannot be reached \(.+\): is `npm start` running\? .*\n$/,
    );
  });

  it("stops waiting for a server that is silent", async () => {
    answer = "never";
    const run = await berth("get", "nodes", "--timeout", "0.2");
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/did not answer within 0\.2 s: --timeout allows more/);
  });

  it.each([
    [["frobnicate"], "unknown command"],
    [["get", "clusters", "--nope"], "unknown option"],
    [["allocate"], "required option"],
    [["get", "clusters", "-o", "xml"], "Allowed choices are table, json, yaml"],
    [["allocate", "--policy", "p", "--gpus", "x"], "--gpus"],
    [["get", "clusters", "--server", "ftp://x"], "--server"],
    [["get", "clusters", "--timeout", "soon"], "--timeout"],
    [["up", "--http-port", "0"], "--http-port"],
    [["token", "create", "--ttl", "soon"], "--ttl"],
    [["token", "create", "--uses", "many"], "--uses"],
    [["token", "create", "--cluster", "a", "--node", "b"], "--cluster and --node"],
    [["token", "list", "--node", "--agent", "ftp://x"], "--agent"],
    [["token", "revoke"], "missing required argument"],
  ])("exits with 2 for %j and names what is wrong", async (args, named) => {
    const run = await berth(...args);
    expect(run.code).toBe(2);
    expect(run.stderr).toMatch(/^error: /);
    expect(run.stderr).toContain(named);
    expect(seen).toEqual([]);
  });

  it("prints help and its version", async () => {
    const help = await berth("--help");
    expect(help.code).toBe(0);
    expect(help.stdout).toContain("3  allocate: unschedulable");
    const version = await berth("version", "-o", "json");
    expect(JSON.parse(version.stdout)).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
  });
});
