import http2 from "node:http2";
import net from "node:net";
import { MAX_ENROL_BYTES } from "@berth/service-kit";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, LOCAL_TOKEN, startAgent } from "../testing/agent.ts";
import { until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const CUT_WITHIN_MS = 13_000;
const ENROL = "/berth.enrolment.v1.EnrolmentService/Enrol";

function connect(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  cleanup.add(() => session.destroy());
  return session;
}

/** Begins a call whose request is a JSON text, or the begin of one. */
function call(session: http2.ClientHttp2Session, path: string, authorization: string) {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": path.endsWith("Report") ? "application/connect+json" : "application/json",
    "connect-protocol-version": "1",
    authorization,
  });
  stream.on("error", () => undefined);
  cleanup.add(() => stream.destroy());
  return stream;
}

describe("the node port", () => {
  it("cuts off who is silent, who shows nothing known, and whose single message does not end", async () => {
    const agent = await startAgent(cleanup, {});
    const port = agent.nodePort();
    const silent = net.connect(port, "127.0.0.1");
    cleanup.add(() => silent.destroy());
    silent.on("error", () => undefined);
    // What the server says has to be read, or its end is never seen.
    silent.resume();
    const stranger = connect(port);
    call(stranger, "/berth.node.v1.NodeService/Register", `Bearer ${"X".repeat(43)}`);
    const known = connect(port);
    const { authorization } = AUTHORIZED.headers;
    const slow = call(known, "/berth.node.v1.NodeService/Register", authorization);
    slow.write('{"nodeId":');
    const open = call(known, "/berth.node.v1.NodeService/Report", authorization);
    await until("the silent one is cut", () => silent.closed, CUT_WITHIN_MS);
    await until("the stranger is cut", () => stranger.closed, CUT_WITHIN_MS);
    await until("the slow call is cut", () => slow.closed, CUT_WITHIN_MS);
    expect(open.closed).toBe(false);
    expect(known.closed).toBe(false);
  });

  it("reads no more of an enrolment than its largest request", async () => {
    const agent = await startAgent(cleanup, {});
    const [, secret] = LOCAL_TOKEN.split(".");
    const stream = call(connect(agent.nodePort()), ENROL, `Bearer ${secret}`);
    let answer = "";
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      answer += String(text);
    });
    stream.end(JSON.stringify({ subjectId: "x".repeat(MAX_ENROL_BYTES) }));
    await until("it is answered", () => answer.endsWith("}"));
    expect(JSON.parse(answer)).toMatchObject({ code: "resource_exhausted" });
  });
});

describe("a host that is not of this machine", () => {
  it.each([
    [{ nodeHost: "192.0.2.1" }, "BERTH_NODE_HOST"],
    [{ nodeHost: "no-such-host.invalid" }, "BERTH_NODE_HOST"],
  ])("fails the start with the setting of the host: %j", async (config, setting) => {
    const started = startAgent(cleanup, config);
    await expect(started).rejects.toThrow(setting);
    await expect(started).rejects.not.toThrow("BERTH_NODE_PORT");
  });
});
