import path from "node:path";
import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import type { OperationRecord } from "../../actions/operation.ts";
import type { ClusterAgentOptions } from "../../compose.ts";
import type { Cleanup } from "../agent.ts";
import { type Answer, type Method, startBlockAgent } from "../block-agent.ts";
import { knowPolicy } from "../policies.ts";
import { joinNode } from "../two-nodes.ts";
import { OBEDIENT, OBEDIENT_URI } from "./obedient-policy.ts";

/** A cluster-agent with one node of four GPUs that is asked as clients ask it. */
export interface ControllerUnderTest {
  readonly call: (method: Method, url: string, body?: unknown) => Promise<Answer>;
  /** Sends a body as it is, under a content type. */
  readonly raw: (method: Method, url: string, body: RawBody) => Promise<Answer>;
  /** `component.containerRegistryInfo` of a program that serves `/health` and `/setParameters` here. */
  readonly program: object;
  readonly nodeId: string;
  /** Lets the agent of "node-1" or "node-2" join with two GPUs; rejects with why it is refused. */
  readonly join: (nodeId: string) => Promise<void>;
  /** Lets policies govern hooks, without being asked whether that may be; `OBEDIENT_URI` is known. */
  readonly govern: (map: Readonly<Record<string, unknown>>) => Promise<void>;
}

/** A body that need not be JSON. */
export interface RawBody {
  readonly text: string;
  readonly type?: string;
}

/** Operations that an agent's earlier life has left stuck, each of a block that is not there. */
export const STUCK_OPERATIONS = ["stuck-1", "stuck-2"] as const;

/** Starts a controller whose blocks run on what `options` choose; all of it ends with the suite. */
export async function startController(
  cleanup: Cleanup,
  { program, options = {} }: ControllerOptions,
): Promise<ControllerUnderTest> {
  const dataDir = await cleanup.directory();
  let store: DocumentStore | undefined;
  const openStore: typeof openSqliteDocumentStore = (...given) => {
    store = openSqliteDocumentStore(...given);
    return store;
  };
  await leaveStuck(path.join(dataDir, "cluster.db"));
  // The node reports once only, and the agent is that of all cases.
  const config = { nodeTtlMs: 3_600_000 };
  const fleet = await startBlockAgent(cleanup, {
    ...{ dataDir, config, options: { ...options, openStore } },
  });
  const { agent, call } = fleet;
  if (store === undefined) throw new Error("the agent has opened no store");
  await knowPolicy(store, OBEDIENT_URI, OBEDIENT);
  return {
    ...{ call, program, nodeId: "node-a" },
    raw: async (method, url, { text, type = "application/json" }) => {
      const headers = { host: "localhost", "content-type": type };
      const answer = await agent.http.inject({ method, url, headers, payload: text });
      return { status: answer.statusCode, body: answer.json() };
    },
    join: (id) => joinNode(cleanup, agent, { id, gpus: [`${id}-0`, `${id}-1`] }),
    govern: async (map) => {
      await agent.cluster.update({ $set: { "config.actionsPolicyMap": map } });
    },
  };
}

/** What {@link startController} takes. */
export interface ControllerOptions extends Pick<ControllerUnderTest, "program"> {
  readonly options?: Partial<ClusterAgentOptions>;
}

async function leaveStuck(file: string): Promise<void> {
  const store = openSqliteDocumentStore(file, systemClock);
  for (const id of STUCK_OPERATIONS) {
    const body: OperationRecord = {
      ...{ id, action: "remove_block", blockId: `of-${id}`, inputJson: "{}", plan: {} },
      ...{ state: "stuck", step: "undoing: it could not be ended", attempts: 11 },
      ...{ progress: { done: 0, total: 0 }, error: { reason: "INTERNAL", message: "broken" } },
      ...{ createdAt: "2026-11-21T12:00:00.000Z", updatedAt: "2026-11-21T12:00:00.000Z" },
    };
    const key = { orgId: "default_org", collection: "operations", id };
    await store.apply([{ kind: "insert", key, body }]);
  }
  await store.close();
}
