import { afterEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../log.ts";
import { busContract } from "../testing/bus-contract.ts";
import { type ExternalServer, hasNats, startNatsServer } from "../testing/external-servers.ts";
import { freePort } from "../testing/free-ports.ts";
import { NatsBus } from "./nats-bus.ts";

const retry = { firstMs: 5, capMs: 10, most: 3 };
const stream = { name: "test", subjects: ["test.>"] };
const PATIENCE = { timeout: 30_000, interval: 20 };

describe.skipIf(!hasNats())("NatsBus", { timeout: 60_000 }, () => {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  const serve = async (options: Parameters<typeof startNatsServer>[0]) => {
    const server = await startNatsServer(options);
    ends.push(server.stop);
    return server;
  };
  const open = ({ url }: { url: string }, plan = stream) => {
    const bus = new NatsBus({ url, name: "test", stream: plan, logger: silentLogger, retry });
    ends.push(() => bus.close());
    return bus;
  };
  const collect = async (bus: NatsBus, subject: string, name?: string) => {
    const got: string[] = [];
    const handler = ({ text }: { text: string }) => void got.push(text);
    const subscription = await bus.subscribe({
      subject,
      handler,
      ...(name === undefined ? {} : { name }),
    });
    return { got, stop: subscription.stop };
  };
  const again = async (bus: NatsBus, text: string) => {
    for (;;) {
      const sent = await bus.publish({ subject: "test.flow", text, id: text }).then(
        () => true,
        () => false,
      );
      if (sent) return;
    }
  };

  busContract("NatsBus with JetStream", async () => open(await serve({ jetStream: true })));
  busContract("NatsBus without JetStream", async () => open(await serve({})));

  it("hands over what was published before its consumer was made to who keeps what comes while he is away", async () => {
    const server = await serve({ jetStream: true });
    const early = open(server);
    await early.publish({ subject: "test.early", text: "1" });
    const { got } = await collect(open(server), "test.early", "keeper");
    await vi.waitFor(() => expect(got).toEqual(["1"]), PATIENCE);
  });

  it("goes on when the server has lost the stream, after a restart and without one", async () => {
    const server = await serve({ jetStream: true });
    const bus = open(server);
    const { got } = await collect(bus, "test.flow", "keeper");
    await again(bus, "1");
    await vi.waitFor(() => expect(got).toEqual(["1"]), PATIENCE);
    const { connect } = await import("nats");
    const client = await connect({ servers: server.url });
    ends.push(() => client.close());
    await (await client.jetstreamManager()).streams.delete(stream.name);
    await again(bus, "2");
    await vi.waitFor(() => expect(got).toEqual(["1", "2"]), PATIENCE);
    await server.restart({ isFlushed: true });
    await again(bus, "3");
    await vi.waitFor(() => expect(got).toEqual(["1", "2", "3"]), PATIENCE);
    expect(bus.status).toEqual({ driver: "nats", isConnected: true });
  });

  it.each([true, false])(
    "refuses what is larger than the server takes, with JetStream: %s",
    async (jetStream) => {
      const bus = open(await serve({ jetStream, maxPayloadBytes: 4_096 }));
      const { got } = await collect(bus, "test.flow");
      const large = { subject: "test.flow", text: "x".repeat(5_000), id: "large" };
      await expect(bus.publish(large)).rejects.toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
      await again(bus, "small");
      await vi.waitFor(() => expect(got).toEqual(["small"]), PATIENCE);
    },
  );

  it("loses nothing and keeps the order when the server is killed", async () => {
    const server: ExternalServer = await serve({ jetStream: true });
    const bus = open(server);
    const { got } = await collect(bus, "test.flow");
    const wanted = Array.from({ length: 300 }, (_, at) => String(at));
    for (const text of wanted) {
      if (text === "150") void server.restart();
      await again(bus, text);
    }
    await vi.waitFor(() => expect(got).toEqual(wanted), PATIENCE);
  });

  it("loses nothing and takes nothing twice side by side when the server is killed", async () => {
    const server: ExternalServer = await serve({ jetStream: true });
    const bus = open(server);
    const got: string[] = [];
    let [underWay, most] = [0, 0];
    await bus.subscribe({
      ...{ subject: "test.flow", name: "lanes", atOnce: 8 },
      handler: async ({ text, redeliveries }) => {
        underWay += 1;
        most = Math.max(most, underWay);
        await new Promise((resolve) => setTimeout(resolve, Number(text) % 7));
        underWay -= 1;
        if (redeliveries === 0 && Number(text) % 50 === 49) throw new Error("not now");
        got.push(text);
      },
    });
    const wanted = Array.from({ length: 300 }, (_, at) => String(at));
    const killed = (async () => {
      await vi.waitFor(() => expect(got.length).toBeGreaterThan(100), PATIENCE);
      await server.restart();
    })();
    await Promise.all(wanted.map((text) => again(bus, text)));
    await killed;
    await vi.waitFor(() => expect(got.length).toBe(wanted.length), PATIENCE);
    expect(got.toSorted((one, other) => Number(one) - Number(other))).toEqual(wanted);
    expect(most).toBe(8);
  });

  it("keeps messages as soon as its stream can be used, without a new connection", async () => {
    const server = await serve({ jetStream: true });
    const { connect } = await import("nats");
    const client = await connect({ servers: `127.0.0.1:${server.port}` });
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: "stranger", subjects: ["test.>"] });
    const bus = open(server);
    const { got } = await collect(bus, "test.flow");
    expect(bus.status.why).toMatch(/JetStream cannot be used/);
    await bus.publish({ subject: "test.flow", text: "plain" });
    await vi.waitFor(() => expect(got).toEqual(["plain"]), PATIENCE);
    await manager.streams.delete("stranger");
    await vi.waitFor(() => expect(bus.status.why).toBeUndefined(), PATIENCE);
    await vi.waitFor(async () => {
      await bus.publish({ subject: "test.flow", text: "kept" });
      expect(got).toContain("kept");
    }, PATIENCE);
    expect((await manager.streams.info("test")).state.messages).toBeGreaterThan(0);
    await client.close();
  });

  it("gives a durable subscription what came while it was away", async () => {
    const bus = open(await serve({ jetStream: true }));
    const first = await collect(bus, "test.away", "reader");
    await bus.publish({ subject: "test.away", text: "1" });
    await vi.waitFor(() => expect(first.got).toEqual(["1"]), PATIENCE);
    await first.stop();
    await bus.publish({ subject: "test.away", text: "2" });
    const second = await collect(bus, "test.away", "reader");
    await vi.waitFor(() => expect(second.got).toEqual(["2"]), PATIENCE);
  });

  it("waits for a server that is absent at start", async () => {
    const port = await freePort();
    const bus = open({ url: `nats://127.0.0.1:${port}` });
    expect(bus.status.isConnected).toBe(false);
    const listening = collect(bus, "test.flow");
    const early = bus.publish({ subject: "test.flow", text: "early" });
    await expect(early).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    const { got } = await listening;
    await serve({ jetStream: true, port });
    await vi.waitFor(() => expect(bus.status.isConnected).toBe(true), PATIENCE);
    await vi.waitFor(async () => {
      await bus.publish({ subject: "test.flow", text: "late" });
      expect(got).toContain("late");
    }, PATIENCE);
  });

  it("brings a stream of an older configuration up to date, and gets messages of plain clients", async () => {
    const server = await serve({ jetStream: true });
    const older = open(server, { name: "test", subjects: ["old.>"] });
    await older.publish({ subject: "old.a", text: "" });
    const bus = open(server);
    const { got } = await collect(bus, "test.plain", "plain");
    expect(bus.status).toEqual({ driver: "nats", isConnected: true });
    const { connect } = await import("nats");
    const client = await connect({ servers: `127.0.0.1:${server.port}` });
    client.publish("test.plain", "from outside");
    await client.drain();
    await vi.waitFor(() => expect(got).toEqual(["from outside"]), PATIENCE);
  });

  it("says that credentials are wrong, without them", async () => {
    const server = await serve({ password: "right" });
    const bus = open({ url: server.url.replace("right", "WRONGSECRET") });
    await vi.waitFor(() => expect(bus.status.why).toMatch(/authorization/i), PATIENCE);
    expect(JSON.stringify(bus.status)).not.toContain("WRONGSECRET");
    await vi.waitFor(() => expect(open(server).status.isConnected).toBe(false));
  });

  it("carries 10,000 messages", async () => {
    const bus = open(await serve({ jetStream: true }));
    const { got } = await collect(bus, "test.many");
    const wanted = Array.from({ length: 10_000 }, (_, at) => String(at));
    await Promise.all(wanted.map((text) => bus.publish({ subject: "test.many", text })));
    await vi.waitFor(() => expect(got.length).toBe(wanted.length), PATIENCE);
    expect(got).toEqual(wanted);
  });
});
