import { afterEach, beforeEach, expect, it } from "vitest";
import { silentLogger } from "../log.ts";
import { losslessBody } from "./lossless-body.ts";
import { createHttpServer } from "./server.ts";

let server: ReturnType<typeof createHttpServer>;
beforeEach(() => {
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: () => ({ orgId: "org-a", role: "agent" }),
    logger: silentLogger,
  });
  server.post("/echo", async (request) => ({ written: JSON.stringify(losslessBody(request)) }));
});
afterEach(() => server.close());

async function post(payload?: string) {
  const headers = { host: "localhost", "content-type": "application/json" };
  const url = "/echo";
  const reply = await server.inject({ method: "POST", url, headers, payload: payload ?? "" });
  return { status: reply.statusCode, body: reply.json() };
}

it("gives the body with its numbers as the client wrote them", async () => {
  const { status, body } = await post('{ "a": 10.0, "b": [12345678901234567890, 1e400, -0] }');
  expect(status).toBe(200);
  expect(body).toEqual({ written: '{"a":10.0,"b":[12345678901234567890,1e400,-0]}' });
});

it.each([undefined, "[]", "null", "1.0", '"text"'])(
  "refuses %s, which is no object",
  async (text) => {
    const { status, body } = await post(text);
    expect(status).toBe(400);
    expect(body).toMatchObject({ reason: "INVALID_ARGUMENT" });
    expect(body.message).toContain("object");
  },
);
