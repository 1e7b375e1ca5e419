import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import {
  CommandSchema,
  type CompleteRequest,
  type LeaseDocument,
  type OperationDocument,
} from "@berth/proto";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { create } from "@bufbuild/protobuf";
import { afterEach, expect, it } from "vitest";
import { Cleanup, LOCAL_TOKEN } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { until } from "../testing/fixtures.ts";
import type { SoakAgentOptions } from "../testing/soak-agent.ts";

const PROGRAM = fileURLToPath(new URL("../testing/soak-agent.ts", import.meta.url));
/** Writes of the store at which lives end: a start takes some 8, what is ordered then some 12. */
const KILLS = [11, 14, 17, 20] as const;

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const plane = new FakeControlPlane({ storeId: "store-1", term: 1n, snapshotWanted: false });
const orders = new Map<string, { method: string; path: string; bodyJson: string }>();

/** One life of an agent's process. */
class Life {
  isOver = false;
  readonly #ended: Promise<unknown>;
  #url: string | undefined;
  readonly #child: ReturnType<typeof spawn>;

  constructor(env: SoakAgentOptions["env"], kill?: SoakAgentOptions["kill"]) {
    const shape = { nodes: 1, gpusPerNode: 2 };
    const options: SoakAgentOptions = { env, ...shape, ...(kill === undefined ? {} : { kill }) };
    const stdio: ["pipe", "pipe", "inherit"] = ["pipe", "pipe", "inherit"];
    this.#child = spawn(process.execPath, [PROGRAM, JSON.stringify(options)], { stdio });
    this.#ended = once(this.#child, "exit").then(() => {
      this.isOver = true;
    });
    const lines = createInterface({ input: this.#child.stdout ?? process.stdin });
    lines.on("line", (line) => {
      this.#url = JSON.parse(line).url;
    });
    cleanup.add(() => this.end());
  }

  /** Where it answers; undefined before its ledger is open. */
  get url(): string | undefined {
    return this.#url;
  }

  /** Waits until its ledger is open and it takes orders; false when it dies before. */
  async isLinked(): Promise<boolean> {
    await until("the agent", () => this.isOver || this.#url !== undefined, 30_000);
    await until("the link", () => this.isOver || plane.commandSessions.length > 0, 30_000);
    return !this.isOver;
  }

  async end(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

function give(id: string, method: string, path: string, body: object): void {
  orders.set(id, { method, path, bodyJson: JSON.stringify(body) });
}

const answersOf = (id: string) => plane.completions.filter(({ commandId }) => commandId === id);

/** Offers what is not answered yet, as a control-plane does on each new stream. */
function offer(): void {
  const fence = { storeId: "store-1", controllerTerm: 1n };
  for (const [commandId, value] of orders) {
    if (answersOf(commandId).length > 0) continue;
    const order = { case: "call", value } as const;
    plane.order(create(CommandSchema, { commandId, fence, timeoutMs: 60_000, order }));
  }
}

const allAnswered = () => [...orders.keys()].every((id) => answersOf(id).length > 0);

function textOf({ outcome }: CompleteRequest): string {
  return outcome.case === "resultJson" ? outcome.value : `refused ${outcome.value?.reason}`;
}

it("does each request once, and answers the same, killed at any write while it is under way", {
  timeout: 180_000,
}, async () => {
  await plane.start(cleanup);
  const [httpPort = 0, nodePort = 0] = await freePorts(2);
  const env = {
    BERTH_DATA_DIR: await cleanup.directory(),
    BERTH_HTTP_PORT: String(httpPort),
    BERTH_NODE_PORT: String(nodePort),
    BERTH_CONTROL_PLANE_URL: plane.url,
    BERTH_ENROLMENT_TOKEN: LINK_TOKEN,
    BERTH_LOCAL_TOKEN: LOCAL_TOKEN,
    BERTH_NODE_TTL_MS: "60000",
  };
  const claim = { subject: "s", ttl_ms: 600_000, node_id: "node-0", cpu_millis: 1 };
  give("base", "POST", "/leases", claim);
  const first = new Life(env);
  expect(await first.isLinked()).toBe(true);
  offer();
  await until("the first lease", allAnswered, 20_000);
  await first.end();
  const component = { containerRegistryInfo: { command: ["true"] } };
  for (const [n, atWrite] of KILLS.entries()) {
    const block_data = { id: `b${n}`, component, minInstances: 0 };
    give(`make-${n}`, "POST", "/executeAction", {
      action: "create_block",
      wait: false,
      block_data,
    });
    give(`lease-${n}`, "POST", "/leases", claim);
    give(`renew-${n}`, "POST", "/leases/base/renew", { ttl_ms: 600_000 });
    const life = new Life(env, { atWrite, when: n % 2 === 0 ? "before" : "behind" });
    if (await life.isLinked()) {
      offer();
      await until("its end, or all answers", () => life.isOver || allAnswered(), 30_000);
    }
    await life.end();
  }
  const last = new Life(env);
  expect(await last.isLinked()).toBe(true);
  offer();
  await until("all answers", allAnswered, 30_000);
  await checkBooks(last.url ?? "");
});

/** What the agent's books say is what was answered. */
async function checkBooks(url: string): Promise<void> {
  const read = async <T>(path: string) => {
    const { data } = (await (await fetch(`${url}${path}`)).json()) as { data: readonly T[] };
    return data;
  };
  const operations = await read<OperationDocument>("/operations");
  expect(operations.map(({ idempotency_key: key }) => key).toSorted()).toEqual(
    KILLS.map((_at, n) => `make-${n}`),
  );
  const leases = await read<LeaseDocument>("/leases");
  let renewed = 0;
  for (const id of orders.keys()) {
    const texts = new Set(answersOf(id).map(textOf));
    expect(texts.size, `${id}: ${[...texts].join(" | ")}`).toBe(1);
    const [text = ""] = texts;
    const isHeld = leases.some(({ lease_id: leaseId }) => leaseId === id);
    if (id.startsWith("make")) expect(text).toContain('"status":202');
    if (id.startsWith("lease")) expect(isHeld).toBe(/"status":20[01]/.test(text));
    if (id.startsWith("renew")) {
      expect(text).toMatch(/^refused CONFLICT$|"status":(200|503)/);
      if (text.includes('"status":200')) renewed += 1;
    }
  }
  const { renewals = 0 } = leases.find(({ lease_id: id }) => id === "base") ?? {};
  const unknown = [...orders.keys()].filter((id) => {
    return id.startsWith("renew") && answersOf(id).some((one) => textOf(one).startsWith("refused"));
  });
  expect(renewals).toBeGreaterThanOrEqual(renewed);
  expect(renewals).toBeLessThanOrEqual(renewed + unknown.length);
}
