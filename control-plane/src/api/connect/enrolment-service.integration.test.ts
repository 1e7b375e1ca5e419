import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { AgentService, EnrolmentService } from "@berth/proto";
import {
  BerthError,
  createHttp2Server,
  type Enrolment,
  enrolmentGate,
  errorMapping,
  type Http2Server,
  newSecret,
  openAgentIdentity,
  openAuthority,
  openEnrolment,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
  toBerthError,
} from "@berth/service-kit";
import { createClient } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
} from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { enrolmentRoutes } from "./enrolment-service.ts";

const BERLIN = { subjectId: "berlin", identity: "process:m1:d1" };
const never = new AbortController().signal;
let directory: string;
let server: Http2Server;
let enrolment: Enrolment;
let heard: string[];
/** Ids whose agents may still be there, and those whose enrolment was refused beside them. */
let held: Set<string>;
let refusedBeside: string[];
/** Ids that got a key, in order. */
let given: string[];
let failures: string[];

beforeEach(() => {
  heard = [];
  held = new Set();
  refusedBeside = [];
  given = [];
  failures = [];
  directory = mkdtempSync(path.join(tmpdir(), "berth-enrolment-"));
});
afterEach(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Starts an agent port whose other service answers every call with who called. */
async function start(tls: boolean): Promise<string> {
  const authority = tls ? await openAuthority(path.join(directory, "server")) : undefined;
  enrolment = await openEnrolment({
    store: openSqliteDocumentStore(":memory:", systemClock),
    ...{ orgId: "org-a", clock: systemClock, logger: silentLogger, subject: "cluster" },
    caPin: authority?.pin,
    refuseReplacement: (id) => {
      if (!held.has(id)) return undefined;
      refusedBeside.push(id);
      return new BerthError("UNAVAILABLE", "still there");
    },
    onKeyGiven: (id) => given.push(id),
  });
  server = createHttp2Server({
    name: "agent link",
    address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
    logger: silentLogger,
    tls: authority && { certificate: () => authority.issue(["127.0.0.1"]) },
    handler: connectNodeAdapter({
      requestGate: enrolmentGate(enrolment, EnrolmentService.typeName),
      interceptors: [errorMapping({ ...silentLogger, error: (message) => failures.push(message) })],
      routes(router) {
        enrolmentRoutes(router, enrolment);
        router.service(AgentService, {
          register: (_request, { requestHeader }) => {
            const authorization = requestHeader.get("authorization") ?? undefined;
            return { sessionId: enrolment.authenticate({ authorization }).agent?.id ?? "nobody" };
          },
          async report(requests) {
            for await (const { sessionId } of requests) heard.push(sessionId);
            return {};
          },
        });
      },
    }),
  });
  await server.start();
  return `${tls ? "https" : "http"}://127.0.0.1:${server.port}`;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();
const bearer = (text: string) => ({ headers: { authorization: `Bearer ${text}` } });

describe.each([
  ["cleartext", false],
  ["TLS", true],
])("enrolment over %s", (_name, tls) => {
  it.each([
    ["Connect", createConnectTransport],
    ["gRPC", createGrpcTransport],
  ])(
    "gives an agent a key of its own that then is its credential (%s)",
    async (_protocol, transport) => {
      const baseUrl = await start(tls);
      const { token } = await enrolment.createToken({});
      const identity = await openAgentIdentity({
        directory: path.join(directory, "agent"),
        server: "control-plane",
        url: baseUrl,
        enrolmentToken: token,
      });
      const ca = await identity.serverCa(never);
      const dialled = transport({
        baseUrl,
        httpVersion: "2",
        ...(ca === undefined ? {} : { nodeOptions: { ca } }),
      });
      const headers = { authorization: identity.enrolmentAuthorization ?? "" };
      const request = { ...BERLIN, keySha256: identity.keySha256 };
      const agents = createClient(AgentService, dialled);
      const own = { headers: { authorization: identity.authorization } };
      await expect(agents.register({}, own)).rejects.toThrow(/this key is not enrolled/);
      const answer = await createClient(EnrolmentService, dialled).enrol(request, { headers });
      expect(answer.subjectId).toBe("berlin");
      expect((await agents.register({}, own)).sessionId).toBe("berlin");
      await expect(agents.register({}, { headers })).rejects.toThrow(/this key is not enrolled/);
    },
  );
});

describe("the agent port", () => {
  async function clients() {
    const transport = createGrpcTransport({ baseUrl: await start(false) });
    return {
      agents: createClient(AgentService, transport),
      enrolments: createClient(EnrolmentService, transport),
    };
  }

  const reasonOf = (call: Promise<unknown>) =>
    call.then(
      () => "answered",
      (thrown) => toBerthError(thrown).reason,
    );

  it("lets Enrol be called with a well-formed token only, which must then be known", async () => {
    const { enrolments } = await clients();
    const request = { ...BERLIN, keySha256: new Uint8Array(32) };
    expect(await reasonOf(enrolments.enrol(request))).toBe("UNAUTHENTICATED");
    expect(await reasonOf(enrolments.enrol(request, bearer("sesame")))).toBe("UNAUTHENTICATED");
    const unknown = enrolments.enrol(request, bearer("s".repeat(43)));
    await expect(unknown).rejects.toThrow(/not known or was revoked/);
  });

  it("names a bad field, another's token and another's id by their reasons", async () => {
    const { enrolments } = await clients();
    const { token } = await enrolment.createToken({ maxUses: 0 });
    const { token: forParis } = await enrolment.createToken({ subjectId: "paris" });
    const request = { ...BERLIN, keySha256: new Uint8Array(32) };
    const short = { ...request, keySha256: new Uint8Array(1) };
    await expect(enrolments.enrol(short, bearer(token))).rejects.toThrow(
      "key_sha256: expected 32 bytes, got 1",
    );
    expect(await reasonOf(enrolments.enrol(request, bearer(forParis)))).toBe("PERMISSION_DENIED");
    expect(await reasonOf(enrolments.enrol(request, bearer(token)))).toBe("answered");
    const second = enrolments.enrol({ ...request, identity: "i2" }, bearer(token));
    expect(await reasonOf(second)).toBe("ALREADY_EXISTS");
  });

  it("gives nobody of the same identity a key while the first one is there, but by a token for the id", async () => {
    const { enrolments } = await clients();
    const { token } = await enrolment.createToken({ maxUses: 0 });
    const { token: forBerlin } = await enrolment.createToken({ subjectId: "berlin" });
    const request = { ...BERLIN, keySha256: sha256("first") };
    await enrolments.enrol(request, bearer(token));
    held.add("berlin");
    const second = { ...BERLIN, keySha256: sha256("second") };
    expect(await reasonOf(enrolments.enrol(second, bearer(token)))).toBe("UNAVAILABLE");
    expect(refusedBeside).toEqual(["berlin"]);
    const other = { ...second, identity: "i2" };
    expect(await reasonOf(enrolments.enrol(other, bearer(token)))).toBe("ALREADY_EXISTS");
    expect(await reasonOf(enrolments.enrol(second, bearer(forBerlin)))).toBe("answered");
    expect(given).toEqual(["berlin", "berlin"]);
    const same = enrolments.enrol(second, bearer(forBerlin));
    expect(await reasonOf(same)).toBe("answered");
    expect(given).toHaveLength(2);
    held.clear();
    expect(await reasonOf(enrolments.enrol(request, bearer(token)))).toBe("answered");
  });

  it("refuses everything else without an enrolled key", async () => {
    const { agents } = await clients();
    const { token } = await enrolment.createToken({});
    expect(await reasonOf(agents.register({}))).toBe("UNAUTHENTICATED");
    expect(await reasonOf(agents.register({}, bearer(token)))).toBe("UNAUTHENTICATED");
  });

  it("logs no failure when a caller's connection is cut in the middle of a stream", async () => {
    const { agents } = await clients();
    const own = newSecret();
    const { token } = await enrolment.createToken({});
    await enrolment.enrol(`Bearer ${token}`, { ...BERLIN, keySha256: sha256(own) });
    async function* endless() {
      yield { sessionId: "s" };
      await new Promise(() => {});
    }
    const call = reasonOf(agents.report(endless(), bearer(own)));
    await expect.poll(() => heard).toEqual(["s"]);
    await server.stop();
    expect(await call).not.toBe("answered");
    expect(failures).toEqual([]);
  });
});
