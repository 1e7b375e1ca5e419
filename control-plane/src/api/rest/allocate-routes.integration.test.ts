import {
  BerthError,
  createHttpServer,
  loopbackAuthenticator,
  silentLogger,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allocateRoutes } from "./allocate-routes.ts";

let rest: FastifyInstance;
/** What the allocator ends with. */
let thrown: unknown;

beforeAll(() => {
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  const allocate = async (_principal: unknown, frame: { readonly request: () => unknown }) => {
    frame.request();
    if (thrown !== undefined) throw thrown;
    return { success: true, data: null, decision_id: "d" } as const;
  };
  const blockMode = { answer: async () => ({ id: "c1" }) };
  allocateRoutes(rest, { allocator: { allocate }, blockMode, logger: silentLogger });
});

afterAll(() => rest.close());

async function allocate(payload: string) {
  const headers = { host: "127.0.0.1", "content-type": "application/json" };
  const answer = await rest.inject({ method: "POST", url: "/allocate", headers, payload });
  return { status: answer.statusCode, text: answer.body };
}

const good = (id: string) => `{"policy_rule_uri":"p:1-t","inputs":{},"request_id":${id}}`;

describe("POST /allocate", () => {
  it.each(['"a"', "7", "1.0", "12345678901234567890"])("echoes request_id %s", async (id) => {
    thrown = undefined;
    const answer = await allocate(good(id));
    expect(answer).toEqual({
      status: 200,
      text: `{"success":true,"data":null,"decision_id":"d","request_id":${id}}`,
    });
    const refused = await allocate(`{"inputs":{},"request_id":${id}}`);
    expect(refused.status).toBe(400);
    expect(refused.text).toContain(`,"request_id":${id}}`);
    expect(refused.text).toContain("Missing required fields: policy_rule_uri");
  });

  it.each<[unknown, number, string]>([
    [new BerthError("OVERLOADED", "busy", { details: { decision_id: "d" } }), 429, "busy"],
    [new BerthError("NOT_FOUND", "no policy"), 404, "no policy"],
    [new Error("secret"), 500, "internal error"],
  ])("echoes request_id beside the failure %s", async (failure, status, message) => {
    thrown = failure;
    const answer = await allocate(good('"a"'));
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({ success: false, message, request_id: "a" });
    expect(answer.text).not.toContain("secret");
    const without = await allocate('{"policy_rule_uri":"p:1-t","inputs":{}}');
    expect(JSON.parse(without.text)).not.toHaveProperty("request_id");
  });

  it("answers the block mode without an envelope", async () => {
    thrown = undefined;
    const answer = await allocate('{"input":{"id":"b"},"mode":"dry_run"}');
    expect(answer).toEqual({ status: 200, text: '{"id":"c1"}' });
  });
});
