import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTlsServer, type TlsServer } from "../testing/tls-server.ts";
import { type AgentIdentityOptions, openAgentIdentity } from "./agent-identity.ts";
import { formatToken, newSecret, sha256 } from "./enrolment-token.ts";

const cleanups: (() => unknown)[] = [];
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-identity-"));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

function open(options: Partial<AgentIdentityOptions> = {}) {
  const url = "http://127.0.0.1:7443";
  const defaults = { directory, server: "control-plane", url, enrolmentToken: undefined };
  return openAgentIdentity({ ...defaults, ...options });
}

async function aServer(): Promise<TlsServer> {
  const server = await startTlsServer();
  cleanups.push(() => server.stop());
  return server;
}

const never = new AbortController().signal;
const keyFile = () => path.join(directory, "control-plane.key");
const caFile = () => path.join(directory, "control-plane-ca.pem");
const tokenFor = (pin: string) => formatToken({ secret: newSecret(), caPin: pin });

describe("the own key", () => {
  it("is made once, for this user only, and is the same after a restart", async () => {
    const first = await open();
    const again = await open();
    expect(again.authorization).toBe(first.authorization);
    const key = readFileSync(keyFile(), "utf8").trim();
    expect(first.authorization).toBe(`Bearer ${key}`);
    expect(Buffer.from(first.keySha256)).toEqual(sha256(key));
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
  });

  it("differs from server to server", async () => {
    const other = await open({ server: "cluster-agent" });
    expect(other.authorization).not.toBe((await open()).authorization);
  });

  it("is named when it is malformed, and not shown", async () => {
    writeFileSync(keyFile(), "sesame\n");
    await expect(open()).rejects.toThrow(
      `the key file ${keyFile()} is damaged: expected 43 base64url characters`,
    );
    await expect(open()).rejects.not.toThrow(/sesame/);
  });

  it("is not made where the directory cannot be written", async () => {
    writeFileSync(path.join(directory, "file"), "");
    const below = path.join(directory, "file", "below");
    await expect(open({ directory: below })).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  });
});

describe("the enrolment token", () => {
  it("is shown by its secret alone", async () => {
    const secret = newSecret();
    const identity = await open({ enrolmentToken: formatToken({ secret, caPin: "p".repeat(43) }) });
    expect(identity.enrolmentAuthorization).toBe(`Bearer ${secret}`);
  });

  it.each([undefined, ""])("may be absent: %j", async (enrolmentToken) => {
    expect((await open({ enrolmentToken })).enrolmentAuthorization).toBeUndefined();
  });

  it("is refused when malformed", async () => {
    await expect(open({ enrolmentToken: "sesame" })).rejects.toThrow(/^BERTH_ENROLMENT_TOKEN: /);
  });
});

describe("serverCa", () => {
  it("is nothing for a server without TLS", async () => {
    expect(await (await open()).serverCa(never)).toBeUndefined();
  });

  it("refuses to go without TLS to a server that has it", async () => {
    const identity = await open({ enrolmentToken: tokenFor("p".repeat(43)) });
    await expect(identity.serverCa(never)).rejects.toThrow(
      "the enrolment token is of a control-plane with TLS: use https:// in http://127.0.0.1:7443",
    );
  });

  it("is fetched by the token's pin once, and kept for this user only", async () => {
    const { authority, server, url } = await aServer();
    const identity = await open({ url, enrolmentToken: tokenFor(authority.pin) });
    const ca = await identity.serverCa(never);
    expect(ca?.trim()).toBe(authority.caPem.trim());
    expect(statSync(caFile()).mode & 0o777).toBe(0o600);
    await server.stop();
    expect(await identity.serverCa(never)).toBe(ca);
    const withoutToken = await open({ url });
    expect(await withoutToken.serverCa(never)).toBe(ca);
  });

  it("is replaced when a new token names another", async () => {
    const [old, fresh] = [await aServer(), await aServer()];
    await (await open({ url: old.url, enrolmentToken: tokenFor(old.authority.pin) })).serverCa(
      never,
    );
    const identity = await open({ url: fresh.url, enrolmentToken: tokenFor(fresh.authority.pin) });
    const ca = await identity.serverCa(never);
    expect(ca?.trim()).toBe(fresh.authority.caPem.trim());
    expect(readFileSync(caFile(), "utf8")).toBe(ca);
  });

  it("is fetched again when the kept file is damaged", async () => {
    const { authority, url } = await aServer();
    writeFileSync(caFile(), "garbage");
    const identity = await open({ url, enrolmentToken: tokenFor(authority.pin) });
    expect((await identity.serverCa(never))?.trim()).toBe(authority.caPem.trim());
  });

  it("refuses a server with another CA, and keeps nothing of it", async () => {
    const [mine, other] = [await aServer(), await aServer()];
    const identity = await open({ url: other.url, enrolmentToken: tokenFor(mine.authority.pin) });
    await expect(identity.serverCa(never)).rejects.toMatchObject({
      reason: "UNAUTHENTICATED",
      message: expect.stringContaining(
        "shows no certificate of the CA that the enrolment token names",
      ),
    });
    expect(() => statSync(caFile())).toThrow("ENOENT");
  });

  it("says what to set when nothing names the CA", async () => {
    const identity = await open({ url: "https://127.0.0.1:7443" });
    await expect(identity.serverCa(never)).rejects.toThrow(
      /^the CA of the control-plane at https:\/\/127\.0\.0\.1:7443 is not known: set BERTH_ENROLMENT_TOKEN .* `berth token create` .* BERTH_CA_FILE/,
    );
  });

  it("waits for a CA file that the server has yet to write", async () => {
    const { authority, url } = await aServer();
    const late = path.join(directory, "late.pem");
    const identity = await open({ url, caFile: late });
    const waiting = identity.serverCa(never);
    writeFileSync(late, authority.caPem);
    expect(await waiting).toBe(authority.caPem);
  });

  it("names a CA file that is no certificate", async () => {
    const file = path.join(directory, "bad.pem");
    writeFileSync(file, "garbage");
    const identity = await open({ url: "https://127.0.0.1:7443", caFile: file });
    await expect(identity.serverCa(never)).rejects.toThrow(
      `BERTH_CA_FILE: ${file} is no certificate`,
    );
  });

  it.each([
    ["a CA file", (file: string) => ({ caFile: file })],
    ["a handshake", () => ({ enrolmentToken: tokenFor("p".repeat(43)) })],
  ])("stops waiting for %s when it is aborted", async (_what, more) => {
    const port = await silentPort();
    const url = `https://127.0.0.1:${port}`;
    const identity = await open({ url, ...more(path.join(directory, "missing.pem")) });
    const aborting = new AbortController();
    const waiting = identity.serverCa(aborting.signal);
    aborting.abort(new Error("stopping"));
    await expect(waiting).rejects.toThrow(/stopping|aborted/);
  });

  it("says that a server cannot be reached, or speaks no TLS", async () => {
    const port = await silentPort((socket) => socket.end("no TLS here\n"));
    const enrolmentToken = tokenFor("p".repeat(43));
    const plain = await open({ url: `https://127.0.0.1:${port}`, enrolmentToken });
    await expect(plain.serverCa(never)).rejects.toThrow(/cannot be reached: /);
    const gone = await open({ url: "https://127.0.0.1:9", enrolmentToken });
    await expect(gone.serverCa(never)).rejects.toMatchObject({
      reason: "UNAVAILABLE",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });
});

/** A port that accepts connections and, unless told otherwise, says nothing. */
async function silentPort(onSocket: (socket: net.Socket) => void = () => {}): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
