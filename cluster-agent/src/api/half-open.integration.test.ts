import { type NodeReportRequest, NodeReportRequestSchema, NodeService } from "@berth/proto";
import { type CutDirection, startHalfOpenProxy } from "@berth/service-kit/testing";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, Outgoing, startAgent } from "../testing/agent.ts";
import { hostSample, registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const FOUND_WITHIN_MS = 10_000;

describe("a node link that goes silent while its sockets stay open", () => {
  it.each<CutDirection>(["to server", "to client", "both"])(
    "is found by the cluster-agent within 10 s when it is cut %s",
    async (direction) => {
      const agent = await startAgent(cleanup, {});
      const proxy = await startHalfOpenProxy(cleanup, agent.nodePort());
      const baseUrl = `http://127.0.0.1:${proxy.port}`;
      const sessionManager = new Http2SessionManager(baseUrl);
      cleanup.add(() => sessionManager.abort());
      const transport = createConnectTransport({ baseUrl, httpVersion: "2", sessionManager });
      const client = createClient(NodeService, transport);
      const { registrationId } = await client.register(registerRequest(), AUTHORIZED);
      const outgoing = new Outgoing<NodeReportRequest>();
      cleanup.add(() => outgoing.end());
      const settled = client.report(outgoing, AUTHORIZED).catch(() => undefined);
      const message = { registrationId, streamSeq: 1n, host: hostSample() };
      outgoing.send(create(NodeReportRequestSchema, message));
      await until("the sample is there", () => agent.nodes.view("node-a")?.host !== undefined);
      proxy.cut(direction);
      const cutAtMs = performance.now();
      await until("the server closed it", () => proxy.openToServer() === 0, FOUND_WITHIN_MS);
      expect(performance.now() - cutAtMs).toBeGreaterThan(1_000);
      sessionManager.abort();
      await settled;
    },
  );
});
