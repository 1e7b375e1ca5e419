import http from "node:http";
import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DecisionLog } from "../../allocation/decisions/decision-log.ts";
import type { DecisionQuery } from "../../allocation/decisions/decision-record.ts";
import { DecisionFixture } from "../../testing/decision-fixture.ts";
import { decisionRoutes } from "./decision-routes.ts";

let rest: FastifyInstance;
let asked: DecisionQuery[];

function serve(decisions: Pick<DecisionLog, "get" | "list">): FastifyInstance {
  const server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  server.setValidatorCompiler(() => () => true);
  decisionRoutes(server, decisions);
  return server;
}

/** Makes the server listen, and gives its address. */
async function listen(server: FastifyInstance): Promise<URL> {
  return new URL(await server.listen({ host: "127.0.0.1", port: 0 }));
}

beforeEach(() => {
  asked = [];
  rest = serve({
    get: async () => undefined,
    list: async (_orgId, query) => {
      asked.push(query);
      return { decisions: [] };
    },
  });
});

afterEach(() => rest.close());

const ask = (url: string) => rest.inject({ url, headers: { host: "127.0.0.1" } });

describe("GET /decisions", () => {
  it("goes on before the decision of an id", async () => {
    const before = "01993f6e-7b5a-7c31-8d2e-0123456789ab";
    expect((await ask(`/decisions?before=${before}&limit=2`)).statusCode).toBe(200);
    expect(asked).toEqual([{ before, limit: 2 }]);
  });

  it.each([
    ["before=zzz", 'before: expected a decision id, got "zzz"'],
    ["before=", 'before: expected a decision id, got ""'],
    ["limit=0", "limit: expected 1 to 1000, got 0"],
    ["limit=x", "limit: "],
    ["outcome=bogus", "outcome: "],
    ["foo=1", "foo: unknown field"],
  ])("refuses ?%s and names the parameter", async (query, message) => {
    const answer = await ask(`/decisions?${query}`);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ message: expect.stringContaining(message) });
    expect(asked).toEqual([]);
  });

  it("answers with the decisions and where the list goes on", async () => {
    await rest.close();
    const decisions = ['{"decision_id":"a"}', '{"decision_id":"b"}'];
    rest = serve({ get: async () => undefined, list: async () => ({ decisions, next: "b" }) });
    const answer = await ask("/decisions");
    expect(answer.headers["content-type"]).toContain("application/json");
    expect(answer.json()).toEqual({
      success: true,
      data: [{ decision_id: "a" }, { decision_id: "b" }],
      next: "b",
    });
  });

  it("gives a list up when its client goes", async () => {
    await rest.close();
    const asked = Promise.withResolvers<AbortSignal>();
    rest = serve({
      get: async () => undefined,
      list: (_orgId, _query, signal) => {
        asked.resolve(signal);
        return new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      },
    });
    const url = new URL("/decisions", await listen(rest));
    const request = http.get(url).on("error", () => undefined);
    const signal = await asked.promise;
    request.destroy();
    await expect.poll(() => signal.aborted).toBe(true);
  });

  it("answers 150 clients that ask at once and read, or tells them that there are too many", async () => {
    await rest.close();
    const fixture = new DecisionFixture();
    try {
      await fixture.fill(200, "x".repeat(16 * 1024));
      rest = serve(fixture.log);
      const url = new URL("/decisions?limit=1000", await listen(rest));
      const answers = await Promise.all(Array.from({ length: 150 }, () => read(url)));
      expect(new Set(answers.map(({ status }) => status)).difference(EXPECTED).size).toBe(0);
      const pages = answers.filter(({ status }) => status === 200);
      expect(pages.length).toBeGreaterThan(2);
      for (const { bytes } of pages) expect(bytes).toBeLessThanOrEqual(1024 * 1024);
    } finally {
      await rest.close();
      await fixture.close();
    }
  });
});

const EXPECTED = new Set([200, 429]);

/** Asks on a connection of its own and reads the whole reply. */
async function read(url: URL): Promise<{ readonly status: number; readonly bytes: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  http.get(url, { agent: false }, resolve).on("error", reject);
  const reply = await promise;
  let bytes = 0;
  for await (const chunk of reply) bytes += (chunk as Buffer).length;
  return { status: reply.statusCode ?? 0, bytes };
}
