import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { waitFor } from "../testing/fake-programs.ts";
import { FleetViewServer, nodeRow } from "../testing/fleet-view-server.ts";
import { type WatchNews, watchRows } from "./row-watch.ts";

const TIMES = { firstRetryMs: 10, maxRetryMs: 40 };

class Watching {
  readonly news: WatchNews[] = [];
  readonly stop = new AbortController();
  readonly ended: Promise<unknown>;

  constructor(url: string, times: { silencePeriodMs?: number } = {}) {
    const options = { signal: this.stop.signal, times: { ...TIMES, ...times } };
    const run = async () => {
      for await (const one of watchRows({ url, timeoutMs: 5_000 }, "/watch/nodes", options)) {
        this.news.push(one);
      }
    };
    this.ended = run().then(
      () => "stopped",
      (thrown: unknown) => thrown,
    );
  }

  kinds(): string {
    return this.news.map(({ kind }) => kind).join(" ");
  }
}

describe("watchRows", () => {
  let server: FleetViewServer;
  let watching: Watching;

  beforeEach(async () => {
    server = new FleetViewServer();
    await server.listen();
    server.set("nodes", [nodeRow()]);
  });
  afterEach(async () => {
    watching.stop.abort();
    await watching.ended;
    await server.close();
  });

  it("gives the rows and then what changes, until it is stopped", async () => {
    watching = new Watching(server.url);
    await waitFor("the snapshot", () => watching.kinds() === "snapshot");
    server.say("nodes", { type: "heartbeat" });
    server.say("nodes", { type: "of a newer server" });
    server.set("nodes", [nodeRow({ id: "n2" })]);
    await waitFor("the change", () => watching.kinds() === "snapshot changes");
    expect(watching.news).toEqual([
      { kind: "snapshot", rows: [nodeRow()], truncated: false },
      { kind: "changes", changed: [nodeRow({ id: "n2" })], removed: ["c1/n1"], truncated: false },
    ]);
    watching.stop.abort();
    expect(await watching.ended).toBe("stopped");
    await waitFor("the connection to end", () => server.watchers === 0);
  });

  it("comes back after lost connections and a restart of the server", async () => {
    watching = new Watching(server.url);
    await waitFor("the snapshot", () => watching.kinds() === "snapshot");
    server.cut();
    await waitFor("it to come back", () => watching.kinds() === "snapshot lost snapshot");
    await server.close();
    await waitFor("it to be told", () => watching.kinds().endsWith("lost lost lost"));
    const refused = watching.news.at(-1);
    expect(refused).toMatchObject({ kind: "lost", why: "ECONNREFUSED" });
    await server.listen();
    await waitFor("it to come back", () => watching.kinds().endsWith("lost snapshot"));
  });

  it("waits longer from try to try, but not for ever", async () => {
    watching = new Watching(server.url);
    await waitFor("the snapshot", () => watching.kinds() === "snapshot");
    await server.close();
    await waitFor("some tries", () => watching.news.length > 6);
    const pauses = watching.news.flatMap((one) => (one.kind === "lost" ? [one.retryMs] : []));
    expect(pauses[0]).toBeLessThanOrEqual(10);
    expect(pauses[4]).toBeGreaterThanOrEqual(28);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(40);
  });

  it("takes a connection on which nothing is heard for lost", async () => {
    watching = new Watching(server.url, { silencePeriodMs: 30 });
    await waitFor("it to be lost", () => watching.kinds().startsWith("snapshot lost snapshot"));
    expect(watching.news[1]).toMatchObject({ why: "nothing was heard for 0.06 s" });
  });

  it("takes a line that is no JSON for a lost connection", async () => {
    watching = new Watching(server.url);
    await waitFor("the snapshot", () => watching.kinds() === "snapshot");
    server.say("nodes", "<html>");
    await waitFor("it to come back", () => watching.kinds() === "snapshot lost snapshot");
    expect(watching.news[1]).toMatchObject({ why: "the server sent a line that is no JSON" });
  });

  it("goes on trying while the server has no room, and gives up when it is refused for good", async () => {
    watching = new Watching(server.url);
    await waitFor("the snapshot", () => watching.kinds() === "snapshot");
    const refuse = (status: number, message: string) => {
      server.refusal = { status, text: JSON.stringify({ success: false, message }) };
    };
    refuse(429, "too many watchers");
    server.cut();
    await waitFor("some tries", () => watching.kinds().endsWith("lost lost lost"));
    expect(watching.news.at(-1)).toMatchObject({ why: "too many watchers" });
    refuse(404, "no such route");
    expect(await watching.ended).toMatchObject({ message: "no such route" });
  });

  it.each([
    [429, '{"success":false,"message":"too many watchers: end one"}', "too many watchers: end one"],
    [200, '{"success":true,"data":[]}', "not as a Berth control-plane does"],
    [502, "<html>", "answered HTTP 502, but not as a Berth control-plane does"],
  ])("fails at once when the first answer is HTTP %i %s", async (status, text, message) => {
    server.refusal = { status, text };
    watching = new Watching(server.url);
    expect(String(await watching.ended)).toContain(message);
    expect(watching.news).toEqual([]);
  });

  it("fails at once when nobody is there", async () => {
    await server.close();
    watching = new Watching(server.url);
    expect(String(await watching.ended)).toContain("cannot be reached (ECONNREFUSED)");
  });
});
