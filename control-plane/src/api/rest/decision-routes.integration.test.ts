import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DecisionQuery } from "../../allocation/decisions/decision-record.ts";
import { decisionRoutes } from "./decision-routes.ts";

let rest: FastifyInstance;
let asked: DecisionQuery[];

beforeEach(() => {
  asked = [];
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  decisionRoutes(rest, {
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
});
