import { createHash } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";
import { EnrolmentService, NodeService } from "@berth/proto";
import { openAgentIdentity } from "@berth/service-kit";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup, startAgent } from "../testing/agent.ts";
import { registerRequest } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** An agent whose node port is open to other machines, and a token for it. */
async function tlsAgent(given?: string, nodeNames: readonly string[] = []) {
  const dataDir = given ?? (await cleanup.directory());
  const agent = await startAgent(cleanup, { dataDir, nodeHost: "0.0.0.0", nodeNames });
  const answer = await agent.http.inject({
    method: "POST",
    url: "/tokens",
    headers: { host: "localhost", "content-type": "application/json" },
    payload: "{}",
  });
  const token: string = answer.json().data.token;
  return { agent, token, url: `https://127.0.0.1:${agent.nodePort()}` };
}

async function transport(baseUrl: string, ca: string | undefined) {
  const nodeOptions = ca === undefined ? {} : { ca };
  const sessionManager = new Http2SessionManager(baseUrl, undefined, nodeOptions);
  cleanup.add(() => sessionManager.abort());
  return createConnectTransport({ baseUrl, httpVersion: "2", sessionManager });
}

describe("a node port that is open to other machines", () => {
  it("speaks TLS with its own CA, which the token pins", async () => {
    const { agent, token, url } = await tlsAgent();
    expect(token).toMatch(/^berth1\.[\w-]{43}\.[\w-]{43}$/);
    const identity = await openAgentIdentity({
      directory: path.join(await cleanup.directory(), "node"),
      server: "cluster-agent",
      url,
      enrolmentToken: token,
    });
    const ca = await identity.serverCa(new AbortController().signal);
    const over = await transport(url, ca);
    const { keySha256, enrolmentAuthorization = "", authorization } = identity;
    const request = { subjectId: "node-a", identity: "machine:machine-a", keySha256 };
    await createClient(EnrolmentService, over).enrol(request, {
      headers: { authorization: enrolmentAuthorization },
    });
    await createClient(NodeService, over).register(registerRequest(), {
      headers: { authorization },
    });
    expect(agent.nodes.view("node-a")?.liveness).toBe("live");
  });

  it("is not trusted without its CA, and serves no cleartext", async () => {
    const { agent, url } = await tlsAgent();
    const keySha256 = createHash("sha256").update("k").digest();
    const request = { subjectId: "n", identity: "machine:m", keySha256 };
    const stranger = createClient(EnrolmentService, await transport(url, undefined));
    await expect(stranger.enrol(request)).rejects.toThrow(/certificate/);
    const plain = net.connect(agent.nodePort(), "127.0.0.1");
    plain.on("error", () => plain.destroy());
    plain.resume();
    plain.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await once(plain, "close");
  });

  it("keeps its CA over a restart", async () => {
    const dataDir = await cleanup.directory();
    const pins: (string | undefined)[] = [];
    for (const round of [1, 2]) {
      const { agent, token } = await tlsAgent(dataDir);
      pins[round] = token.split(".")[2];
      await agent.stop();
    }
    expect(pins[1]).toBe(pins[2]);
  });

  it("names in its certificate what it was told", async () => {
    const { agent } = await tlsAgent(undefined, ["nodes.example.org"]);
    const socket = tls.connect({ port: agent.nodePort(), rejectUnauthorized: false });
    cleanup.add(() => socket.destroy());
    await once(socket, "secureConnect");
    expect(socket.getPeerX509Certificate()?.subjectAltName).toContain("DNS:nodes.example.org");
  });
});
