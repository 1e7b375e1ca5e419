import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterEach, beforeEach, expect, it } from "vitest";
import { textAt } from "../cluster-view.ts";
import { FakePrograms, waitFor } from "../testing/fake-programs.ts";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));
const CLUSTER_AGENT = fileURLToPath(import.meta.resolve("@berth/cluster-agent/main"));
const LIMIT_MS = 60_000;

let files: FakePrograms;
let children: ChildProcess[];

beforeEach(() => {
  files = new FakePrograms();
  children = [];
});

afterEach(async () => {
  for (const child of children.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  }
  files.remove();
});

/** Starts a program of the repository; gives what it has written so far. */
function begin(file: string, args: readonly string[], env: Record<string, string>): () => string {
  const child = spawn(process.execPath, [file, ...args], {
    env: { PATH: process.env.PATH ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let written = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      written += String(data);
    });
  }
  return () => written;
}

it(
  "opens its agents' ports to other machines with TLS, and an agent joins with a token alone",
  async () => {
    const ports = (await freePorts(7)).map(String);
    const [http = "", ws = "", agent = "", cluster = "", node = "", ...others] = ports;
    const data = join(files.dir, "data");
    const up = begin(
      MAIN,
      [
        ...["up", "--data-dir", data, "--http-port", http, "--ws-port", ws, "--agent-port", agent],
        ...["--cluster-port", cluster, "--node-port", node],
      ],
      { BERTH_AGENT_HOST: "0.0.0.0", BERTH_NODE_HOST: "0.0.0.0" },
    );
    await waitFor("the fleet", () => up().includes("Ctrl-C stops"), LIMIT_MS);
    expect(up()).toContain(`https://0.0.0.0:${agent}\n`);
    for (const name of ["control-plane", "cluster-agent"]) {
      expect(existsSync(join(data, name, "ca.pem"))).toBe(true);
    }

    const plain = connect(Number(agent), "127.0.0.1");
    plain.on("error", () => plain.destroy());
    plain.resume().write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await once(plain, "close");

    const server = `http://127.0.0.1:${http}`;
    const create = ["token", "create", "--cluster", "berlin", "--server", server, "-o", "json"];
    const made = begin(MAIN, create, {});
    const token = await waitFor("a token", () => /"token": "([^"]+)"/.exec(made())?.[1]);
    expect(token.split(".")).toHaveLength(3);
    const [httpPort = "", nodePort = ""] = others;
    begin(CLUSTER_AGENT, [], {
      BERTH_DATA_DIR: join(files.dir, "berlin"),
      BERTH_CLUSTER_ID: "berlin",
      BERTH_HTTP_PORT: httpPort,
      BERTH_NODE_PORT: nodePort,
      BERTH_CONTROL_PLANE_URL: `https://127.0.0.1:${agent}`,
      BERTH_ENROLMENT_TOKEN: token,
    });
    await expect
      .poll(async () => textAt(await (await fetch(`${server}/clusters/berlin`)).json(), "status"), {
        timeout: LIMIT_MS,
      })
      .toBe("live");
    const kept = readFileSync(join(files.dir, "berlin/control-plane-ca.pem"), "utf8");
    expect(kept.trim()).toBe(readFileSync(join(data, "control-plane/ca.pem"), "utf8").trim());
  },
  3 * LIMIT_MS,
);
