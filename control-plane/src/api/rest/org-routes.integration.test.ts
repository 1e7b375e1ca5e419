import {
  createHttpServer,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTestOrg, TEST_ORG } from "../../testing/org-fixture.ts";
import { quotaRoutes } from "./quota-routes.ts";
import { subjectRoutes } from "./subject-routes.ts";

let rest: FastifyInstance;
let store: ReturnType<typeof openSqliteDocumentStore>;

beforeEach(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  const { org } = await openTestOrg(store);
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(TEST_ORG),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  quotaRoutes(rest, org);
  subjectRoutes(rest, org);
});
afterEach(async () => {
  await rest.close();
  await store.close();
});

async function ask(
  method: "GET" | "POST" | "PUT" | "DELETE",
  url: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
) {
  const payload = body === undefined ? {} : { payload: body as object };
  const answer = await rest.inject({
    method,
    url,
    headers: { host: "localhost", ...headers },
    ...payload,
  });
  const { etag } = answer.headers;
  return { status: answer.statusCode, body: answer.json(), etag };
}

const SEED = {
  ...{ subject_id: "subject-001", quota_id: "quota-001" },
  ...{ allocation_info: "gpu-allocation", replica_count: "3" },
};

describe("/quota", () => {
  it("creates, gives, changes and removes a quota as the seed writes it", async () => {
    expect(await ask("POST", "/quota", SEED)).toMatchObject({
      ...{ status: 201, etag: '"1"' },
      body: {
        success: true,
        data: { message: "Resource quota created", id: "quota-001", quota: SEED },
      },
    });
    expect(await ask("GET", "/quota/quota-001")).toMatchObject({
      ...{ status: 200, etag: '"1"', body: { success: true, data: { ...SEED, org_id: TEST_ORG } } },
    });
    const changed = await ask("PUT", "/quota/quota-001", { replica_count: "5" });
    expect(changed).toMatchObject({
      ...{ status: 200, etag: '"2"' },
      body: { data: { message: "Resource quota updated", quota: { replica_count: "5" } } },
    });
    expect(await ask("PUT", "/quota/quota-001", { replica_count: 5 })).toMatchObject({
      ...{ status: 200, etag: '"2"' },
    });
    expect(await ask("DELETE", "/quota/quota-001")).toMatchObject({
      status: 200,
      body: { success: true, data: { message: "Resource quota deleted" } },
    });
    expect((await ask("GET", "/quota/quota-001")).status).toBe(404);
  });

  it("refuses a second one with its id, and creates nothing by PUT", async () => {
    await ask("POST", "/quota", SEED);
    expect(await ask("POST", "/quota", { ...SEED, replica_count: "9" })).toMatchObject({
      ...{ status: 409, body: { reason: "ALREADY_EXISTS" } },
    });
    expect((await ask("GET", "/quota/quota-001")).body.data.replica_count).toBe("3");
    expect((await ask("PUT", "/quota/new", { replica_count: "1" })).status).toBe(404);
    expect((await ask("GET", "/quota/new")).status).toBe(404);
    expect((await ask("DELETE", "/quota/new")).status).toBe(404);
  });

  it("holds a change back that is not of the newest revision", async () => {
    await ask("POST", "/quota", SEED);
    const stale = await ask("PUT", "/quota/quota-001", { replica_count: 4 }, { "if-match": '"7"' });
    expect(stale).toMatchObject({ status: 412, body: { reason: "STALE_REVISION", revision: 1 } });
    const fresh = await ask("PUT", "/quota/quota-001", { replica_count: 4 }, { "if-match": '"1"' });
    expect(fresh).toMatchObject({ status: 200, etag: '"2"' });
    const any = await ask("PUT", "/quota/quota-001", { replica_count: 5 }, { "if-match": "*" });
    expect(any.status).toBe(200);
    for (const bad of ["1", '"x"', 'W/"1"']) {
      const refused = await ask("DELETE", "/quota/quota-001", undefined, { "if-match": bad });
      expect(refused).toMatchObject({ status: 400, body: { reason: "INVALID_ARGUMENT" } });
    }
  });

  it.each([[[]], ["text"], [7], [null]])("refuses the body %j", async (body) => {
    const payload = JSON.stringify(body);
    const headers = { host: "localhost", "content-type": "application/json" };
    const answer = await rest.inject({ method: "POST", url: "/quota", payload, headers });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ success: false, reason: "INVALID_ARGUMENT" });
  });
});

describe("/quotas", () => {
  beforeEach(async () => {
    for (const [quotaId, subjectId] of [
      ["c", "s1"],
      ["a", "s1"],
      ["b", "s2"],
    ]) {
      await ask("POST", "/quota", { quota_id: quotaId, subject_id: subjectId, replica_count: "1" });
    }
  });
  const ids = ({ body }: { body: { data: readonly { quota_id: string }[] } }) =>
    body.data.map(({ quota_id }) => quota_id);

  it("finds quotas by a filter, bare or as query, page by page", async () => {
    expect(ids(await ask("POST", "/quotas", { subject_id: "s1" }))).toEqual(["a", "c"]);
    expect(ids(await ask("POST", "/quotas", { query: { quota_id: { $gt: "a" } } }))).toEqual([
      ...["b", "c"],
    ]);
    expect(ids(await ask("POST", "/quotas", {}))).toEqual(["a", "b", "c"]);
    const first = await ask("POST", "/quotas?limit=2", {});
    expect([ids(first), first.body.more]).toEqual([["a", "b"], 1]);
    expect(ids(await ask("GET", "/quotas?after=b"))).toEqual(["c"]);
  });

  it.each([
    ["POST", "/quotas", { $where: "1" }],
    ["POST", "/quotas", { replica_count: { $regex: "(" } }],
    ["POST", "/quotas?limit=0", {}],
    ["GET", "/quotas?foo=1", undefined],
  ] as const)("refuses %s %s %j", async (method, url, body) => {
    expect(await ask(method, url, body)).toMatchObject({
      ...{ status: 400, body: { reason: "INVALID_ARGUMENT" } },
    });
  });
});

describe("/subjects", () => {
  it("tells of one or more subjects as the seed's Subjects DB does", async () => {
    const org_id = TEST_ORG;
    const trainer = { subject_id: "subject-001", name: "Trainer-A", type: "gpu-node", org_id };
    const other = { subject_id: "subject-002", name: "Trainer-B", org_id };
    expect(await ask("POST", "/subjects", trainer)).toMatchObject({
      ...{ status: 201, body: { success: true, data: trainer } },
    });
    await ask("POST", "/subjects", other);
    const both = await ask("GET", "/subjects?subject_id=subject-001&subject_id=subject-002");
    expect(both.body).toEqual({ success: true, data: [trainer, other] });
    const known = await ask("GET", "/subjects?subject_id=subject-002&subject_id=nobody");
    expect(known.body.data).toEqual([other]);
    expect((await ask("GET", "/subjects")).body.data).toEqual([trainer, other]);
    await ask("PUT", "/subjects/subject-002", { type: "cpu-node" });
    expect((await ask("GET", "/subjects/subject-002")).body.data).toEqual({
      ...other,
      type: "cpu-node",
    });
    expect((await ask("DELETE", "/subjects/subject-002")).status).toBe(200);
    expect((await ask("GET", "/subjects/subject-002")).status).toBe(404);
    expect((await ask("POST", "/subjects", trainer)).status).toBe(409);
    expect((await ask("PUT", "/subjects/none", {})).status).toBe(404);
    expect((await ask("POST", "/subjects", { name: "x" })).status).toBe(400);
  });

  it("belong to the org whatever a client says, and are changed on their newest revision", async () => {
    const given = { subject_id: "s", name: "A", org_id: "another" };
    const made = await ask("POST", "/subjects", given);
    expect(made.body.data).toEqual({ ...given, org_id: TEST_ORG });
    expect(made.etag).toBe('"1"');
    const same = await ask("PUT", "/subjects/s", made.body.data);
    expect([same.status, same.etag]).toEqual([200, '"1"']);
    const match = (revision: number) => ({ "if-match": `"${revision}"` });
    const changed = await ask("PUT", "/subjects/s", { name: "B" }, match(1));
    expect(changed.etag).toBe('"2"');
    const stale = await ask("PUT", "/subjects/s", { name: "C" }, match(1));
    expect(stale).toMatchObject({ status: 412, body: { reason: "STALE_REVISION", revision: 2 } });
    expect((await ask("DELETE", "/subjects/s", undefined, match(1))).status).toBe(412);
    expect((await ask("DELETE", "/subjects/s", undefined, match(2))).status).toBe(200);
  });
});
