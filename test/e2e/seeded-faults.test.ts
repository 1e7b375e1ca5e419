import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerOf, post } from "../support/client.ts";
import { berth, type Fleet, type ProgramName, startFleet, until } from "../support/fleet.ts";
import { pick, seededRandom } from "../support/synthetic-cluster.ts";

const SEED = 20_261_122;
const ROUNDS = 10;
const PINGS_PER_ROUND = 4;
/** The agent has acted and waits for so long at most before it answers. */
const LONGEST_HOLD_MS = 400;
/** Kills come so long after the pings were sent at most: before, while and after the agent acts and answers. */
const LATEST_KILL_MS = 500;
const VICTIMS: readonly ProgramName[] = ["control-plane", "cluster-agent"];

interface Command {
  readonly command_id: string;
  readonly state: string;
  readonly order: { readonly text: string };
  readonly result: { readonly text: string; readonly runs: number } | null;
  readonly refusal: { readonly reason: string; readonly message: string } | null;
}

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet();
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
});

afterAll(() => fleet.stop());

/** Sends an order; gives whether it was answered. Its connection may be cut with the control-plane. */
async function ping(text: string, holdMs: number): Promise<boolean> {
  try {
    const body = JSON.stringify({ text, timeout_ms: 60_000, hold_ms: holdMs });
    const answer = await answerOf(post(fleet, "/clusters/local/ping", body));
    return answer.success;
  } catch {
    return false;
  }
}

async function commands(): Promise<readonly Command[]> {
  const reply = await fetch(`http://127.0.0.1:${fleet.ports.http}/commands?limit=1000`);
  return ((await reply.json()) as { data: readonly Command[] }).data;
}

async function isPlacing(): Promise<boolean> {
  try {
    const body = { policy_rule_uri: "least-loaded:1.0.0-stable", inputs: { gpus: 0 } };
    const answer = await answerOf(post(fleet, "/allocate", JSON.stringify(body)));
    return answer.success && answer.data.cluster_id === "local";
  } catch {
    return false;
  }
}

describe("kill -9 at seeded points", () => {
  it("runs every order once or says that nobody knows, loses no answer and places again", {
    timeout: 300_000,
  }, async () => {
    const random = seededRandom(SEED);
    const acknowledged: string[] = [];
    let cut = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const victim = pick(VICTIMS, random) ?? "control-plane";
      await until(() => fleet.has(victim), { what: () => `the ${victim} to be back` });
      const delayMs = random() * LATEST_KILL_MS;
      const texts = Array.from({ length: PINGS_PER_ROUND }, (_, index) => `${round}/${index}`);
      const answers = texts.map(async (text) => {
        const holdMs = Math.floor(random() * LONGEST_HOLD_MS);
        if (await ping(text, holdMs)) acknowledged.push(text);
        else cut += 1;
      });
      // The moment of the kill is what is tested here, nothing waits for it.
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      process.kill(fleet.pidOf(victim), "SIGKILL");
      await Promise.all(answers);
      await until(isPlacing, { limitMs: 30_000, what: () => `placements after round ${round}` });
    }
    await until(async () => (await commands()).every(({ state }) => state !== "pending"), {
      limitMs: 60_000,
      what: () => "every order to be answered",
    });
    const all = await commands();
    const completed = all.filter(({ state }) => state === "completed");
    // The agent writes each run down before it answers: one that ran twice would say so.
    for (const { order, result } of completed) {
      expect(result).toEqual({ text: order.text, runs: 1 });
    }
    const carriedOut = completed.map(({ order }) => order.text);
    expect(new Set(carriedOut).size).toBe(carriedOut.length);
    expect(carriedOut).toEqual(expect.arrayContaining(acknowledged));
    // Only an agent that died in the few ms between an order's departure and its writing that down is taken for a
    // copy that was made before: most kills hit it later, and then the order goes on where it was.
    const unsure = all.filter(({ state }) => state !== "completed");
    for (const { state, refusal } of unsure) {
      expect(state).toBe("refused");
      expect(refusal?.message).toContain("nobody knows whether this ran");
    }
    expect(unsure.length).toBeLessThan(carriedOut.length);
    expect(acknowledged.length).toBeGreaterThan(0);
    expect(cut).toBeGreaterThan(0);
  });
});
