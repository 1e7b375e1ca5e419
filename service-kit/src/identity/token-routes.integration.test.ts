import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { createHttpServer } from "../http/server.ts";
import { silentLogger } from "../log.ts";
import { loopbackAuthenticator } from "../principal.ts";
import { openSqliteDocumentStore } from "../store/sqlite-document-store.ts";
import { type Enrolment, openEnrolment } from "./enrolment.ts";
import { newSecret, parseToken, sha256 } from "./enrolment-token.ts";
import { addTokenRoutes } from "./token-routes.ts";

let server: FastifyInstance;
let enrolment: Enrolment;

beforeEach(async () => {
  const store = openSqliteDocumentStore(":memory:", systemClock);
  const options = { store, orgId: "o", clock: systemClock, logger: silentLogger };
  enrolment = await openEnrolment({ ...options, subject: "node" });
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("o"),
    logger: silentLogger,
  });
  server.setValidatorCompiler(() => () => true);
  addTokenRoutes(server, { enrolment, subjectField: "node_id", agentPort: 32_001 });
});
afterEach(() => server.close());

async function call(method: "GET" | "POST" | "DELETE", url: string, body?: unknown) {
  const reply = await server.inject({
    method,
    url,
    headers: { host: "localhost" },
    ...(body === undefined ? {} : { payload: body as object }),
  });
  return { status: reply.statusCode, body: reply.json() };
}

it("makes a token, shows it once, lists it without its secret and revokes it", async () => {
  const made = await call("POST", "/tokens", { node_id: "gpu-7", ttl_s: 60, label: "rack 4" });
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({
    success: true,
    data: { node_id: "gpu-7", label: "rack 4", max_uses: 1, uses: 0 },
  });
  const { agent_port, token, ...rest } = made.body.data;
  expect(agent_port).toBe(32_001);
  expect(Date.parse(rest.expires_at) - Date.parse(rest.created_at)).toBe(60_000);
  const key = newSecret();
  const request = { subjectId: "gpu-7", identity: "machine:m", keySha256: sha256(key) };
  await enrolment.enrol(`Bearer ${parseToken(token)?.secret}`, request);
  const listed = await call("GET", "/tokens");
  expect(listed.body).toEqual({ success: true, data: [{ ...rest, uses: 1 }] });
  const revoked = await call("DELETE", `/tokens/${rest.id}`);
  expect(revoked.body).toEqual({ success: true, data: { id: rest.id } });
  expect((await call("DELETE", `/tokens/${rest.id}`)).status).toBe(404);
  expect((await call("GET", "/tokens")).body.data).toEqual([]);
});

it("makes a token for a day and any one subject when nothing is said", async () => {
  const { body } = await call("POST", "/tokens", {});
  expect(body.data).toMatchObject({ node_id: null, label: null, max_uses: 1 });
  expect(Date.parse(body.data.expires_at) - Date.parse(body.data.created_at)).toBe(86_400_000);
});

it.each([
  ["the request body", []],
  ["node_id", { node_id: "a b" }],
  ["node_id", { node_id: 7 }],
  ["cluster_id", { cluster_id: "berlin" }],
  ["ttl_s", { ttl_s: 0 }],
  ["ttl_s", { ttl_s: 7_776_001 }],
  ["ttl_s", { ttl_s: "1h" }],
  ["max_uses", { max_uses: -1 }],
  ["label", { label: "" }],
])("names %s when it gets %j", async (field, body) => {
  const refused = await call("POST", "/tokens", body);
  expect(refused.status).toBe(400);
  expect(refused.body.reason).toBe("INVALID_ARGUMENT");
  expect(refused.body.message.startsWith(`${field}:`)).toBe(true);
});
