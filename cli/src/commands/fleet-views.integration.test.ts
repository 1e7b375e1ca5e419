import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CliContext } from "../context.ts";
import { runBerth } from "../program.ts";
import { waitFor } from "../testing/fake-programs.ts";
import { clusterRow, FleetViewServer, gpuRow, nodeRow } from "../testing/fleet-view-server.ts";

const LEAVE = "\u001b[?7h\u001b[?25h\u001b[?1049l";

/** One run of the command line, with a terminal or without. */
class Run {
  stdout = "";
  stderr = "";
  readonly terminal: { isTTY?: boolean; columns?: number; rows?: number };
  readonly code: Promise<number>;
  stop: () => void = () => undefined;
  break: (why: Error) => void = () => undefined;
  resize: (() => void) | undefined;
  type: ((text: string) => void) | undefined;

  constructor(
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    terminal: { isTTY?: boolean; columns?: number; rows?: number } = {},
  ) {
    this.terminal = terminal;
    this.code = runBerth(this.#context(args, env), {
      ...{ "control-plane": "", "cluster-agent": "", "node-agent": "", simulator: "" },
    });
  }

  #context(args: readonly string[], env: Readonly<Record<string, string>>): CliContext {
    const { terminal } = this;
    return {
      ...{ args, env, cwd: "/", execPath: "", pid: 1, kill: () => undefined },
      stdout: Object.assign(terminal, {
        write: (text: string) => {
          this.stdout += text;
        },
      }),
      stderr: {
        write: (text: string) => {
          this.stderr += text;
        },
      },
      onStopRequest: (listener) => {
        this.stop = listener;
      },
      onOutputClosed: (listener) => {
        this.break = listener;
      },
      onResize: (listener) => {
        this.resize = listener;
        return () => {
          this.resize = undefined;
        };
      },
      onKeys: (listener) => {
        this.type = listener;
        return () => {
          this.type = undefined;
        };
      },
    };
  }

  /** The last picture on the terminal. */
  picture(): string {
    return this.stdout.split("\u001b[H").at(-1) ?? "";
  }
}

describe("views of the fleet", () => {
  let server: FleetViewServer;
  let runs: Run[];

  beforeEach(async () => {
    runs = [];
    server = new FleetViewServer();
    await server.listen();
    server.set("clusters", [clusterRow({ simulated: true })]);
    server.set("nodes", [nodeRow(), nodeRow({ id: "n2", gpu_utilization: 93 })]);
    server.set("gpus", [gpuRow(), gpuRow({ id: "1", utilization: 90 })]);
  });
  afterEach(async () => {
    for (const run of runs) run.stop();
    await Promise.all(runs.map((run) => run.code));
    await server.close();
  });

  function berth(args: readonly string[], terminal?: Run["terminal"], env = {}): Run {
    const run = new Run(args, { BERTH_SERVER: server.url, ...env }, terminal);
    runs.push(run);
    return run;
  }

  const screen = () => ({ isTTY: true, columns: 160, rows: 20 });

  describe("berth get", () => {
    it("lists rows page by page, with the filters", async () => {
      server.pageSize = 1;
      const run = berth(["get", "gpus", "--cluster", "c1", "--state", "free"]);
      expect(await run.code).toBe(0);
      expect(run.stdout.split("\n").map((line) => line.split(/ +/)[2])).toEqual([
        "GPU",
        "0",
        "1",
        undefined,
      ]);
      expect(server.seen).toEqual([
        "/gpus?cluster=c1&state=free",
        "/gpus?cluster=c1&state=free&after=1",
      ]);
    });

    it("marks what a simulator made up, and prints rows as data", async () => {
      const table = berth(["get", "clusters"]);
      expect(await table.code).toBe(0);
      expect(table.stdout).toContain("live (simulated)");
      const json = berth(["get", "nodes", "-o", "json"]);
      await json.code;
      expect(JSON.parse(json.stdout)).toHaveLength(2);
    });

    it("says on standard error that there is nothing", async () => {
      server.set("gpus", []);
      const run = berth(["get", "gpus"]);
      expect(await run.code).toBe(0);
      expect(run.stdout).toMatch(/^CLUSTER .*\n$/);
      expect(run.stderr).toBe("no gpus found\n");
    });

    it("watches over a lost connection and prints only what differs", async () => {
      const run = berth(["get", "nodes", "--watch", "--interval", "0.5", "--cluster", "c1"]);
      await waitFor("the table", () => run.stdout.split("\n").length === 4);
      expect(server.seen).toEqual(["/watch/nodes?cluster=c1&interval_ms=500"]);
      server.cut();
      await waitFor("it to work again", () => run.stderr.includes("the watch works again\n"));
      expect(run.stderr).toMatch(/^the watch was lost \(.+\): trying again in 0\.\d s\n/);
      expect(run.stdout.split("\n")).toHaveLength(4);
      server.set("nodes", [nodeRow({ status: "unhealthy", reason: "silent" })]);
      await waitFor("the changes", () => run.stdout.split("\n").length === 6);
      expect(run.stdout).toMatch(/n1 +unhealthy .* silent\nc1 +n2 +removed /);
      run.stop();
      expect(await run.code).toBe(0);
    });

    it("prints one JSON document per change", async () => {
      const run = berth(["get", "clusters", "-w", "-o", "json"]);
      await waitFor("the first row", () => run.stdout !== "");
      server.set("clusters", [clusterRow({ status: "unreachable" })]);
      server.set("clusters", []);
      await waitFor("the changes", () => run.stdout.split("\n").length === 4);
      const documents = run.stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(documents).toEqual([
        clusterRow({ simulated: true }),
        clusterRow({ status: "unreachable" }),
        clusterRow({ status: "unreachable", removed: true }),
      ]);
    });

    it("ends when its reader leaves, and fails when the disk is full", async () => {
      const piped = berth(["get", "nodes", "-w"]);
      await waitFor("the table", () => piped.stdout !== "");
      piped.break(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
      expect(await piped.code).toBe(0);
      const filed = berth(["get", "nodes", "-w"]);
      await waitFor("the table", () => filed.stdout !== "");
      filed.break(Object.assign(new Error("write ENOSPC"), { code: "ENOSPC" }));
      expect(await filed.code).toBe(1);
      expect(filed.stderr).toBe("error: standard output takes no more (ENOSPC)\n");
    });

    it("says once that rows are missing", async () => {
      const run = berth(["get", "nodes", "-w"]);
      await waitFor("the table", () => run.stdout !== "");
      const line = { type: "changes", changed: [], removed: [], truncated: true };
      server.say("nodes", line);
      server.say("nodes", line);
      server.set("nodes", []);
      await waitFor("the change", () => run.stdout.includes("removed"));
      expect(run.stderr).toMatch(/^there are more rows than .* --cluster narrows\n$/);
    });

    it.each([
      [["get", "nodes", "--state", "free"], "unknown option '--state'"],
      [["get", "gpus", "--state", "odd"], "Allowed choices are free, leased"],
      [["get", "gpus", "-w", "--interval", "0"], "--interval"],
      [["top", "--state", "free"], "--state: only gpus have one"],
      [["top", "clusters", "--node", "n"], "--node: clusters have none"],
      [["top", "disks"], "Allowed choices are fleet, clusters, nodes, gpus"],
    ])("refuses %j with code 2", async (args, named) => {
      const run = berth(args);
      expect(await run.code).toBe(2);
      expect(run.stderr).toContain(named);
    });
  });

  describe("berth top", () => {
    it("gives the terminal back when a picture fails, and says why", async () => {
      const run = berth(["top"], screen());
      await waitFor("the picture", () => run.resize !== undefined && run.picture().includes("n2"));
      Object.defineProperty(run.terminal, "columns", {
        get: () => {
          throw new Error("this terminal has no size");
        },
      });
      run.resize?.();
      expect(await run.code).toBe(1);
      expect(run.stdout.endsWith(LEAVE)).toBe(true);
      expect(run.stderr).toBe("error: this terminal has no size\n");
    });

    it("prints the fleet once where there is no terminal", async () => {
      const run = berth(["top"]);
      expect(await run.code).toBe(0);
      const lines = run.stdout.split("\n");
      expect(lines[0]).toMatch(/^berth top fleet {3}http.* {2}simulated$/);
      expect(lines[1]).toMatch(/^1 cluster \(1 live\) {3}2 nodes \(2 healthy\) {3}16 GPUs/);
      expect(lines.slice(-3).map((line) => line.split(/ +/)[1])).toEqual(["n2", "n1", undefined]);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it must not be there.
      expect(run.stdout).not.toMatch(/\u001b|\[\|/);
    });

    it("prints the rows as data, the busiest first", async () => {
      const fleet = berth(["top", "-o", "json"], screen());
      await fleet.code;
      const data = JSON.parse(fleet.stdout);
      expect(Object.keys(data)).toEqual(["clusters", "nodes"]);
      const gpus = berth(["top", "gpus", "-o", "json"], screen());
      await gpus.code;
      expect(JSON.parse(gpus.stdout).map((row: { id: string }) => row.id)).toEqual(["1", "0"]);
    });

    it("prints once in colours with bars on a terminal, without colours for NO_COLOR", async () => {
      const coloured = berth(["top", "gpus", "--once"], screen());
      await coloured.code;
      expect(coloured.stdout).toContain("\u001b[32m|||||");
      expect(coloured.stdout).not.toContain("\u001b[?1049h");
      const plain = berth(["top", "gpus", "--once"], screen(), { NO_COLOR: "1" });
      await plain.code;
      expect(plain.stdout).toContain("[|||||");
      expect(plain.stdout).not.toContain("\u001b");
      const dumb = berth(["top", "gpus"], screen(), { TERM: "dumb" });
      expect(await dumb.code).toBe(0);
      expect(dumb.stdout).not.toContain("\u001b");
    });

    it("shows changes in place, follows the size and the keys, and ends with q", async () => {
      const run = berth(["top", "gpus", "--interval", "0.2"], screen());
      await waitFor("the picture", () => run.picture().includes("90%"));
      expect(run.stdout.startsWith("\u001b[?1049h")).toBe(true);
      server.set("gpus", [gpuRow({ state: "unhealthy", reason: "XID 79" })]);
      await waitFor("the change", () => /unhealthy.*XID 79/s.test(run.picture()));
      expect(run.picture()).toContain("1-1 of 1");
      run.terminal.rows = 5;
      run.resize?.();
      expect(run.picture().split("\r\n")).toHaveLength(5);
      run.terminal.rows = 20;
      server.set(
        "gpus",
        Array.from({ length: 50 }, (_none, i) => gpuRow({ id: `g${i}` })),
      );
      await waitFor("all rows", () => run.picture().includes("of 50"));
      run.type?.("G");
      expect(run.picture()).toContain("-50 of 50");
      run.type?.("q");
      expect(await run.code).toBe(0);
      expect(run.stdout.endsWith(LEAVE)).toBe(true);
      expect(run.type).toBeUndefined();
      expect(run.stderr).toBe("");
      await waitFor("the connections to end", () => server.watchers === 0);
    });

    it("says that it is not connected, and goes on with what there was", async () => {
      const run = berth(["top", "--interval", "0.2"], screen());
      await waitFor("the picture", () => run.picture().includes("93%"));
      await server.close();
      await waitFor("it to be told", () => /NOT CONNECTED for .*s \(ECONN/.test(run.picture()));
      expect(run.picture()).toContain("n2");
      await server.listen();
      await waitFor("it to be back", () => !run.picture().includes("NOT CONNECTED"));
      run.stop();
      expect(await run.code).toBe(0);
      expect(run.stdout.endsWith(LEAVE)).toBe(true);
    });

    it("shows nothing that ids could use to drive the terminal", async () => {
      server.set("nodes", [nodeRow({ id: "n\u001b[2J\u009b\u202e", models: ["\r\n"] })]);
      const run = berth(["top", "nodes", "--interval", "0.2"], screen());
      await waitFor("the picture", () => run.picture().includes("n�[2J��"));
      run.stop();
      await run.code;
    });

    it("fails without touching the terminal when nobody is there", async () => {
      await server.close();
      const run = berth(["top"], screen());
      expect(await run.code).toBe(1);
      expect(run.stdout).toBe("");
      expect(run.stderr).toMatch(/^error: .* cannot be reached \(ECONNREFUSED\)/);
    });
  });
});
