import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runBerth } from "../program.ts";
import {
  allocationDocument,
  BlockViewServer,
  blockDocument,
  leaseDocument,
  operationDocument,
} from "../testing/block-view-server.ts";

let server: BlockViewServer;

beforeEach(async () => {
  server = new BlockViewServer();
  await server.listen();
});
afterEach(() => server.close());

async function berth(...args: string[]) {
  const written = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr") => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const code = await runBerth(
    {
      ...{ args, env: { BERTH_SERVER: server.url }, cwd: "/", execPath: "", pid: 1 },
      ...{ stdout: output("stdout"), stderr: output("stderr"), kill: () => undefined },
      ...{ onStopRequest: () => undefined, onOutputClosed: () => undefined },
      ...{ onResize: () => () => undefined, onKeys: () => () => undefined },
    },
    { "control-plane": "", "cluster-agent": "", "node-agent": "", simulator: "" },
  );
  return { code, ...written };
}

describe("berth get", () => {
  it("lists blocks, of one cluster and a part of them, and passes warnings on", async () => {
    server.blocks = [blockDocument(), blockDocument({ block_id: "chat", cluster_id: "c2" })];
    server.warnings = ["cluster c3 does not answer"];
    const run = await berth("get", "blocks", "--cluster", "c1", "--limit", "2");
    expect(run).toMatchObject({ code: 0, stderr: "warning: cluster c3 does not answer\n" });
    expect(run.stdout.split("\n").map((line) => line.split(/ +/)[1])).toEqual([
      "BLOCK",
      "echo",
      "chat",
      undefined,
    ]);
    expect(server.seen).toEqual(["GET /blocks?cluster_id=c1&limit=2"]);
  });

  it("shows one block with its instances, and refuses one that there is not", async () => {
    server.blocks = [blockDocument()];
    const run = await berth("get", "blocks", "echo", "--cluster", "c1");
    expect(run.stdout).toMatch(/^block +echo\ncluster +c1\n/);
    expect(run.stdout).toMatch(/\nin-b +n2 /);
    const none = await berth("get", "blocks", "a/b");
    expect(none).toMatchObject({ code: 1, stdout: "" });
    expect(none.stderr).toMatch(/^error: no such thing: a%2Fb \(NOT_FOUND\)/);
    expect(server.seen).toEqual(["GET /blocks/echo?cluster_id=c1", "GET /blocks/a%2Fb"]);
  });

  it.each(["json", "yaml"])("prints what is held as %s, all of it", async (form) => {
    server.allocations = [allocationDocument({ orphan: true })];
    server.leases = [leaseDocument()];
    const held = await berth("get", "allocations", "--block", "echo", "-o", form);
    expect(held.stdout).toContain("GPU-4013ada4-1111");
    const leases = await berth("get", "leases", "--cluster", "c1", "-o", form);
    expect(leases.stdout).toContain("ttl_left_ms");
    expect(server.seen).toEqual(["GET /allocations?block_id=echo", "GET /leases?cluster_id=c1"]);
  });

  it("says how many there are beside those of a limit", async () => {
    server.leases = [leaseDocument()];
    server.more = 4;
    const run = await berth("get", "leases", "--limit", "1");
    expect(run).toMatchObject({ code: 0, stderr: "and 4 more leases: --limit shows more\n" });
  });

  it("shows orphans with their age", async () => {
    const taken_at = new Date(Date.now() - 3_700_000).toISOString();
    server.allocations = [allocationDocument({ orphan: true, taken_at })];
    const { stdout } = await berth("get", "allocations");
    expect(stdout).toMatch(/ orphan +1h01m /);
  });

  it.each(["blocks", "allocations", "leases"])("says when there are no %s", async (noun) => {
    const run = await berth("get", noun);
    expect(run).toMatchObject({ code: 0, stderr: `no ${noun} found\n` });
  });
});

describe("berth operation", () => {
  it("lists operations by block and state, and says what to do about a stuck one", async () => {
    server.operations = [operationDocument()];
    const run = await berth("operation", "list", "--block", "echo", "--state", "stuck");
    expect(run.stdout).toMatch(/\nop-1 +c1 +echo +scale +stuck /);
    expect(run.stderr).toBe("1 operation is stuck: berth operation show|retry|abandon op-1\n");
    const json = await berth("operation", "list", "-o", "json");
    expect(json.stderr).toBe("");
    expect(JSON.parse(json.stdout)).toEqual(server.operations);
    expect(server.seen).toEqual(["GET /operations?block_id=echo&state=stuck", "GET /operations"]);
  });

  it("shows one", async () => {
    server.operations = [operationDocument()];
    const { code, stdout } = await berth("operation", "show", "op-1");
    expect(code).toBe(0);
    expect(stdout).toContain("error      CONFLICT: no place\n");
    expect((await berth("operation", "show", "op-9")).code).toBe(1);
  });

  it.each([
    ["retry", "running"],
    ["abandon", "abandoned"],
  ])("lets a stuck one %s, and no other", async (verb, state) => {
    server.operations = [
      operationDocument(),
      operationDocument({ operation_id: "op-2", state: "done" }),
    ];
    const run = await berth("operation", verb, "op-1");
    expect(run).toMatchObject({ code: 0, stdout: `operation op-1 of block echo is ${state}\n` });
    const other = await berth("operation", verb, "op-2");
    expect(other).toMatchObject({ code: 1, stdout: "" });
    expect(other.stderr).toContain("only a stuck one can be retried or abandoned");
    expect(server.seen).toEqual([`POST /operations/op-1/${verb}`, `POST /operations/op-2/${verb}`]);
  });
});
