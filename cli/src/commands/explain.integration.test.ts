import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runBerth } from "../program.ts";

let server: Server;
let url: string;
/** Path and query of every request so far. */
let seen: string[];
/** The page that answers the request of this number, from 0. */
let page: (number: number) => object;

beforeEach(async () => {
  seen = [];
  server = createServer((request, response) => {
    const number = seen.push(request.url ?? "") - 1;
    response.end(JSON.stringify({ success: true, ...page(number) }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function berth(...args: string[]) {
  const written = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr") => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const code = await runBerth(
    {
      ...{ args, env: { BERTH_SERVER: url }, cwd: "/", execPath: "", pid: 1 },
      ...{ stdout: output("stdout"), stderr: output("stderr"), kill: () => undefined },
      ...{ onStopRequest: () => undefined, onOutputClosed: () => undefined },
      ...{ onResize: () => () => undefined, onKeys: () => () => undefined },
    },
    { "control-plane": "", "cluster-agent": "", "node-agent": "", simulator: "" },
  );
  return { code, ...written };
}

describe("berth get decisions", () => {
  it("finds what is behind pages without any that was asked for", async () => {
    const pages = [
      { data: [], next: "b" },
      { data: [{ decision_id: "a" }], next: "a" },
      { data: [] },
    ];
    page = (number) => pages[number] ?? {};
    const run = await berth("get", "decisions", "--cluster", "cc", "-o", "json");
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(run.stdout)).toEqual([{ decision_id: "a" }]);
    expect(seen).toEqual([
      "/decisions?limit=20&cluster=cc",
      "/decisions?limit=20&cluster=cc&before=b",
      "/decisions?limit=19&cluster=cc&before=a",
    ]);
  });

  it("prints what it found when it gives up, says so and exits with 1", async () => {
    page = (number) => ({ data: number === 0 ? [{ decision_id: "a" }] : [], next: `n${number}` });
    const run = await berth("get", "decisions", "-o", "json", "--timeout", "1");
    expect(run.code).toBe(1);
    expect(JSON.parse(run.stdout)).toEqual([{ decision_id: "a" }]);
    expect(run.stderr).toMatch(
      /^gave up after 1 s: 1 found back to n\d+.*--timeout allows more\n$/,
    );
  });
});
