import type { FastifyInstance, InjectOptions } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BerthError } from "../errors.ts";
import { type LogFields, silentLogger } from "../log.ts";
import type { Authenticate } from "../principal.ts";
import { listenError } from "./listen-error.ts";
import { MAX_BODY_BYTES } from "./request-budget.ts";
import { bodyObject, createHttpServer, takeBody } from "./server.ts";

const HEADERS = {
  host: "localhost:8000",
  authorization: "Bearer t",
  "content-type": "application/json",
};

const authenticate: Authenticate = ({ authorization }) => {
  if (authorization === "Bearer t") return { orgId: "org-a", role: "agent" };
  throw new BerthError("UNAUTHENTICATED", "authorization: expected a valid bearer token");
};

describe("createHttpServer", () => {
  let server: FastifyInstance;
  let logged: LogFields[];

  beforeEach(() => {
    logged = [];
    const error = (message: string, fields: LogFields = {}) => {
      logged.push({ message, ...fields });
    };
    server = createHttpServer({
      origins: { allowedHosts: [], allowedOrigins: [] },
      authenticate,
      logger: { ...silentLogger, error },
    });
    server.post("/echo", async (request) => ({
      body: request.body ?? null,
      text: request.bodyText,
      principal: request.principal,
    }));
    server.post("/taken", async (request) => ({
      taken: takeBody(request),
      left: takeBody(request),
    }));
    server.post("/object", async (request) => bodyObject(request));
    server.get("/things/:id", async (request) => request.params);
    server.get("/fails/:how", async (request) => {
      throw failures[(request.params as { how: string }).how];
    });
  });
  afterEach(() => server.close());

  async function call(options: InjectOptions) {
    const reply = await server.inject({ ...options, headers: { ...HEADERS, ...options.headers } });
    return { status: reply.statusCode, body: reply.body === "" ? undefined : reply.json() };
  }

  it("gives a handler the body, its text as sent, and the principal", async () => {
    const reply = await call({ method: "POST", url: "/echo", payload: '{"a": 10.0}' });
    expect(reply).toEqual({
      status: 200,
      body: { body: { a: 10 }, text: '{"a": 10.0}', principal: { orgId: "org-a", role: "agent" } },
    });
  });

  it("lets a handler take the body, which the request holds no more", async () => {
    const reply = await call({ method: "POST", url: "/taken", payload: '{"a": 10.0}' });
    expect(reply.body).toEqual({
      taken: { text: '{"a": 10.0}', body: { a: 10 } },
      left: { text: "" },
    });
  });

  it("accepts a content type with parameters, and a trailing slash", async () => {
    const headers = { "content-type": "application/json; charset=utf-8" };
    const reply = await call({ method: "POST", url: "/echo/?x=1", payload: "[1]", headers });
    expect(reply).toMatchObject({ status: 200, body: { body: [1] } });
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])(
    "refuses a body of %s, which a foreign page could send unasked",
    async (type) => {
      const headers = { "content-type": type };
      const reply = await call({ method: "POST", url: "/echo", payload: '{"a":1}', headers });
      expect(reply).toEqual({
        status: 415,
        body: errorBody(
          "UNSUPPORTED_MEDIA_TYPE",
          "the request body needs the header content-type: application/json",
        ),
      });
    },
  );

  it("refuses a body without a content type", async () => {
    const { host, authorization } = HEADERS;
    const request = { method: "POST", url: "/echo", headers: { host, authorization } } as const;
    expect((await server.inject({ ...request, payload: "{}" })).statusCode).toBe(415);
    expect((await server.inject(request)).json()).toMatchObject({ body: null, text: "" });
  });

  it.each(["{", "hello", "\ufeff{}", "{}{}"])("answers 400 to %j", async (payload) => {
    const reply = await call({ method: "POST", url: "/echo", payload });
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({ reason: "INVALID_ARGUMENT", success: false });
    expect(reply.body.message).toMatch(/^the request is not JSON: ./);
  });

  it("answers 400 to a body that is not UTF-8, and changes nothing in it", async () => {
    const payload = Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xff), Buffer.from('"}')]);
    const reply = await call({ method: "POST", url: "/echo", payload });
    expect(reply.status).toBe(400);
    expect(reply.body.message).toBe("the request body is not UTF-8 text");
    const good = { method: "POST", url: "/echo", payload: '{"a":"Straße 🚢"}' } as const;
    expect((await call(good)).status).toBe(200);
  });

  it("answers 400 to a body of 10,000 levels", async () => {
    const reply = await call({
      method: "POST",
      url: "/echo",
      payload: "[".repeat(10_000) + "]".repeat(10_000),
    });
    expect(reply).toMatchObject({ status: 400, body: { reason: "INVALID_ARGUMENT" } });
  });

  it("lets a body of the largest size pass and refuses one byte more", async () => {
    const fits = `"${"a".repeat(MAX_BODY_BYTES - 2)}"`;
    expect((await call({ method: "POST", url: "/object", payload: fits })).status).toBe(400);
    expect(await call({ method: "POST", url: "/object", payload: `${fits} ` })).toEqual({
      status: 413,
      body: errorBody("PAYLOAD_TOO_LARGE", "the request body is larger than 16777216 bytes"),
    });
  });

  it.each([
    ["", "nothing"],
    ["null", "null"],
    ["[]", "array"],
    ['"x"', "string"],
    ["5", "number"],
  ])("says that the body %j is no object", async (payload, got) => {
    expect(await call({ method: "POST", url: "/object", payload })).toEqual({
      status: 400,
      body: errorBody("INVALID_ARGUMENT", `the request body: expected a JSON object, got ${got}`),
    });
  });

  it("answers 404 with the method and path, without the query", async () => {
    expect(await call({ method: "GET", url: "/nope?token=secret" })).toEqual({
      status: 404,
      body: errorBody("NOT_FOUND", "no route GET /nope"),
    });
    expect((await call({ method: "DELETE", url: "/echo" })).status).toBe(404);
  });

  it("answers HEAD like GET, without a body", async () => {
    expect(await call({ method: "HEAD", url: "/things/a" })).toEqual({
      status: 200,
      body: undefined,
    });
    expect((await call({ method: "HEAD", url: "/nope" })).status).toBe(404);
  });

  it.each([
    ["/things/%zz", "is not a valid url component"],
    [`/things/${"a".repeat(513)}`, "max param length"],
  ])("answers the error body also to a URL that the router cannot read", async (url, message) => {
    const reply = await call({ method: "GET", url });
    expect(reply).toMatchObject({
      status: 400,
      body: { success: false, reason: "INVALID_ARGUMENT" },
    });
    expect(reply.body.message).toContain(message);
  });

  it("checks the host, the origin and the credential before anything else", async () => {
    const request = { method: "POST", url: "/nope", payload: "{" } as const;
    const foreign = await call({ ...request, headers: { host: "evil.example.com" } });
    expect(foreign).toMatchObject({ status: 403, body: { reason: "PERMISSION_DENIED" } });
    const page = await call({ ...request, headers: { origin: "https://evil.example.com" } });
    expect(page).toMatchObject({ status: 403, body: { reason: "PERMISSION_DENIED" } });
    const stranger = await call({
      ...request,
      url: "/echo",
      headers: { authorization: "Bearer x" },
    });
    expect(stranger).toMatchObject({ status: 401, body: { reason: "UNAUTHENTICATED" } });
  });

  it("answers a BerthError with its row of the table and its details, and logs nothing", async () => {
    expect(await call({ method: "GET", url: "/fails/conflict" })).toEqual({
      status: 409,
      body: { ...errorBody("CONFLICT", "quota q changed"), revision: 3 },
    });
    expect(logged).toEqual([]);
  });

  it.each(["bug", "null", "undefined", "text", "vendor", "internal"])(
    "hides what an unexpected failure (%s) says, and logs it with the path only",
    async (how) => {
      expect(await call({ method: "GET", url: `/fails/${how}?token=t` })).toEqual({
        status: 500,
        body: errorBody("INTERNAL", "internal error"),
      });
      expect(logged).toEqual([
        expect.objectContaining({
          message: "request failed",
          method: "GET",
          url: `/fails/${how}`,
        }),
      ]);
    },
  );
});

describe("listenError", () => {
  const address = { host: "127.0.0.1", port: 8_000, setting: "BERTH_HTTP_PORT" };

  it("names the port and the setting when the port is taken", () => {
    const taken = Object.assign(new Error("x"), { code: "EADDRINUSE" });
    expect(listenError(taken, address)).toMatchObject({
      reason: "UNAVAILABLE",
      message:
        "port 8000 on 127.0.0.1 is taken by another program; set BERTH_HTTP_PORT to another port",
    });
  });

  it.each(["EADDRNOTAVAIL", "ENOTFOUND", "EINVAL", "EAI_AGAIN", "EAFNOSUPPORT"])(
    "names the host, its setting and what was expected when the host is wrong: %s",
    (code) => {
      const cause = Object.assign(new Error("x"), { code });
      const expected = `"10.9.8.7" is no host to listen on (${code}): expected an address or a host name of this machine`;
      const wrong = { ...address, host: "10.9.8.7" };
      expect(listenError(cause, { ...wrong, hostSetting: "BERTH_AGENT_HOST" })).toMatchObject({
        reason: "UNAVAILABLE",
        message: `${expected}; set BERTH_AGENT_HOST to another one`,
      });
      expect(listenError(cause, wrong).message).toBe(expected);
    },
  );

  it.each([Object.assign(new Error("permission denied"), { code: "EACCES" }), "permission denied"])(
    "says why the port cannot be opened otherwise: %s",
    (cause) => {
      expect(listenError(cause, address).message).toBe(
        "port 8000 on 127.0.0.1 cannot be opened: permission denied; set BERTH_HTTP_PORT to another port",
      );
    },
  );
});

const failures: Readonly<Record<string, unknown>> = {
  conflict: new BerthError("CONFLICT", "quota q changed", { details: { revision: 3 } }),
  bug: new TypeError("secret"),
  null: null,
  undefined,
  text: "secret",
  vendor: Object.assign(new Error("secret"), { code: "ENOENT" }),
  internal: new BerthError("INTERNAL", "secret", { details: { secret: 1 } }),
};

function errorBody(reason: string, message: string) {
  return { success: false, error: message, message, reason };
}
