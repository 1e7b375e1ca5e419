import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runBerth } from "../program.ts";
import { clusterRow, FleetViewServer } from "../testing/fleet-view-server.ts";

describe("simulated fleets", () => {
  let server: FleetViewServer;
  let cwd: string;

  beforeEach(async () => {
    cwd = mkdtempSync(join(tmpdir(), "berth-cli-sim-"));
    server = new FleetViewServer();
    await server.listen();
    server.set("clusters", [clusterRow({ id: "sim-0" }), clusterRow({ id: "sim-10" })]);
  });
  afterEach(async () => {
    await server.close();
    rmSync(cwd, { recursive: true, force: true });
  });

  async function berth(...args: readonly string[]) {
    let stderr = "";
    const code = await runBerth(
      {
        ...{ args, cwd, env: {}, execPath: "", pid: 1, kill: () => undefined },
        ...{ stdout: { write: () => true }, onStopRequest: () => undefined },
        ...{ onOutputClosed: () => undefined, onResize: () => () => undefined },
        onKeys: () => () => undefined,
        stderr: {
          write: (text: string) => {
            stderr += text;
          },
        },
      },
      { "control-plane": "", "cluster-agent": "", "node-agent": "", simulator: "" },
    );
    return { code, stderr };
  }

  it("does not start a second fleet of the same name, and says how to name it", async () => {
    expect(await berth("sim", "1x1x1", "--server", server.url)).toEqual({
      code: 1,
      stderr: `error: ${server.url} has a live cluster sim-0 already: choose another name for this fleet with --name, or stop that one\n`,
    });
    expect(server.seen).toEqual(["/metrics/clusters?cluster=sim-0"]);
  });

  it.each([
    ["another name", ["--name", "edge"], []],
    ["the name of a fleet that is gone", [], [clusterRow({ id: "sim-0", status: "unreachable" })]],
  ])("asks for an enrolment token under %s", async (_what, options, rows) => {
    if (rows.length > 0) server.set("clusters", rows);
    const { code } = await berth("sim", "1x1x1", ...options, "--server", server.url);
    // This control-plane makes no tokens.
    expect(code).toBe(1);
    expect(server.seen.at(-1)).toBe("/tokens");
  });

  it.each([
    [["sim", "1x1x1", "--name", "A b"], '--name "A b": expected 1 to 30 of a-z'],
    [["sim"], "sim: expected a fleet such as 3x4x8"],
    [["up", "--profile", "t4"], "--profile: expected --sim beside it, such as 3x4x8"],
    [["up", "--name", "edge"], "--name: expected --sim beside it"],
    [["up", "--no-cluster-ports"], "--no-cluster-ports: expected --sim beside it"],
    [["sim", "fault", "link-cut", "--sim-server", "ftp://x"], "such as http://127.0.0.1:31990"],
  ])("refuses %j as a wrong command line", async (args, message) => {
    const { code, stderr } = await berth(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  it("says what to start when there is no simulator to ask", async () => {
    await server.close();
    const { code, stderr } = await berth("sim", "status", "--sim-server", server.url);
    expect(code).toBe(1);
    expect(stderr).toContain("is `berth up --sim` running? --sim-server or BERTH_SIM_SERVER");
    await server.listen();
  });
});
