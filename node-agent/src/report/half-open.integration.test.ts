import { once } from "node:events";
import net from "node:net";
import { NodeRegisterRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { startNodeServer } from "../testing/node-server.ts";
import { dialNodeService } from "./node-service-client.ts";

it("notices within 10 s that a link has gone silent although its socket stays open", async () => {
  const server = await startNodeServer({ token: "t" });
  const sockets: net.Socket[] = [];
  const proxy = net.createServer((near) => {
    const far = net.connect(server.port, "127.0.0.1");
    for (const socket of [near, far]) socket.on("error", () => socket.destroy());
    near.pipe(far).pipe(near);
    sockets.push(near, far);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address() as net.AddressInfo;
  const client = dialNodeService({ target: `127.0.0.1:${port}`, token: "t" });
  const { signal } = new AbortController();
  const request = create(NodeRegisterRequestSchema, { nodeId: "n" });
  await client.register(request, { timeoutMs: 5_000, signal });
  const call = client.report();
  for (const socket of sockets) {
    socket.unpipe();
    socket.pause();
  }
  const beganMs = performance.now();
  await expect(call.ended).rejects.toMatchObject({ code: status.UNAVAILABLE });
  expect(performance.now() - beganMs).toBeLessThan(10_000);
  client.close();
  for (const socket of sockets) socket.destroy();
  proxy.close();
  server.kill();
});
