// A program for tests: a cluster-agent with simulated nodes that kills itself at the n-th write of its store, before or
// behind it. Its options are JSON in its first argument; it prints one line, {"url": …}, when its ledger is open.

import { flushCompileCache } from "node:module";
import {
  type DocumentStore,
  loadConfig,
  openSqliteDocumentStore,
  silentLogger,
  startAll,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { composeClusterAgent } from "../compose.ts";
import { programSettings } from "../settings.ts";
import { until } from "./fixtures.ts";
import { joinNodes } from "./join-nodes.ts";

/** What a process is started with. */
export interface SoakAgentOptions {
  /** Settings of the agent, as environment variables. */
  readonly env: Readonly<Record<string, string>>;
  readonly nodes: number;
  readonly gpusPerNode: number;
  /** Where it dies; absent: it lives. */
  readonly kill?: { readonly atWrite: number; readonly when: "before" | "behind" };
}

/** Nodes that were removed come back so soon once they are onboarded again, ms. */
const REJOIN_MS = 300;

const options = JSON.parse(process.argv[2] ?? "") as SoakAgentOptions;

function dies(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal comes at once; nothing may happen until it does.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function withKill(store: DocumentStore): DocumentStore {
  const { kill } = options;
  if (kill === undefined) return store;
  let writes = 0;
  const apply: DocumentStore["apply"] = async (batch) => {
    writes += 1;
    const isDue = writes === kill.atWrite;
    if (isDue && kill.when === "before") dies();
    const outcome = await store.apply(batch);
    if (isDue) dies();
    return outcome;
  };
  return withApply(store, apply);
}

const loaded = loadConfig(programSettings, options.env);
if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
const agent = await composeClusterAgent({
  ...{ config: loaded.config, runtime: loaded.config },
  ...{ clock: systemClock, logger: silentLogger, process },
  openStore: (...given) => withKill(openSqliteDocumentStore(...given)),
});
await startAll(agent.parts, silentLogger);
await joinNodes(agent, { ...options, retryEveryMs: REJOIN_MS });
await until("the ledger to open", () => agent.blocks?.ledger.status.state === "open", 30_000);
process.stdout.write(`${JSON.stringify({ url: agent.httpUrl() })}\n`);
// It is mostly killed, and what is compiled is otherwise written down at an end only.
flushCompileCache();
process.stdin.on("end", () => process.exit(0)).resume();
