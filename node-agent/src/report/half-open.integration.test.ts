import { createHash } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { NodeRegisterRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { startNodeServer } from "../testing/node-server.ts";
import { join } from "./join.ts";
import { dialNodeService } from "./node-service-client.ts";

type Cut = "to server" | "to client" | "both";

it.each<Cut>(["to server", "to client", "both"])(
  "notices within 10 s that nothing goes %s any more although the socket stays open",
  async (cut) => {
    const server = await startNodeServer({ secret: "t" });
    const pairs: { near: net.Socket; far: net.Socket }[] = [];
    const proxy = net.createServer((near) => {
      const far = net.connect(server.port, "127.0.0.1");
      for (const socket of [near, far]) socket.on("error", () => socket.destroy());
      near.pipe(far).pipe(near);
      pairs.push({ near, far });
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port } = proxy.address() as net.AddressInfo;
    const client = dialNodeService({
      url: `http://127.0.0.1:${port}`,
      authorization: "Bearer k",
      enrolmentAuthorization: "Bearer t",
    });
    const { signal } = new AbortController();
    const register = create(NodeRegisterRequestSchema, { nodeId: "n" });
    const keySha256 = createHash("sha256").update("k").digest();
    const limits = { timeoutMs: 5_000, signal };
    await join(client, { register, keySha256, call: limits, onEnrolled: () => undefined });
    const call = client.report();
    for (const { near, far } of pairs) {
      if (cut !== "to client") near.unpipe(far).resume();
      if (cut !== "to server") far.unpipe(near).resume();
    }
    const beganMs = performance.now();
    await expect(call.ended).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(performance.now() - beganMs).toBeLessThan(10_000);
    client.close();
    for (const { near, far } of pairs) {
      near.destroy();
      far.destroy();
    }
    proxy.close();
    server.kill();
  },
);
