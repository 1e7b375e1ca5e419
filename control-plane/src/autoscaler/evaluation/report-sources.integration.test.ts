import http from "node:http";
import type { AddressInfo } from "node:net";
import { silentLogger, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { FeedReports } from "./report-sources.ts";

/** What speaks the seed's protocol: a feed that a test writes to, and its REST. */
let server: http.Server;
let feed: WebSocketServer;
let port: number;
let rest: { status: number; text: string };
let dialled: string[];
const opened: FeedReports[] = [];
const WAIT = { timeout: 10_000, interval: 20 };

beforeEach(async () => {
  dialled = [];
  rest = { status: 503, text: "{}" };
  await listen(0);
  port = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop();
  await close();
});

async function listen(at: number): Promise<void> {
  server = http.createServer((request, response) => {
    dialled.push(`GET ${request.url}`);
    response.writeHead(rest.status, { "content-type": "application/json" }).end(rest.text);
  });
  feed = new WebSocketServer({ server });
  feed.on("connection", (_socket, request) => dialled.push(`WS ${request.url}`));
  await new Promise<void>((resolve) => server.listen(at, "127.0.0.1", resolve));
}

async function close(): Promise<void> {
  for (const socket of feed.clients) socket.terminate();
  feed.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

const report = (n: number) => JSON.stringify({ success: true, data: { subjects: {}, n } });
const dataOf = (n: number) => JSON.stringify({ subjects: {}, n });
const send = (text: string) => {
  for (const socket of feed.clients as Set<WebSocket>) socket.send(text);
};

/** The clock stands still but for what a test adds. */
async function open(laterMs: () => number = () => 0): Promise<FeedReports> {
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + laterMs() };
  const url = `ws://127.0.0.1:${port}/?interval=1`;
  const reports = new FeedReports({ url, clock, logger: silentLogger });
  opened.push(reports);
  await reports.start();
  await vi.waitFor(() => expect(feed.clients.size).toBe(1), WAIT);
  return reports;
}
const take = (reports: FeedReports) => reports.take(new AbortController().signal);

it("gives the newest frame of the feed while it is fresh", async () => {
  const reports = await open();
  send(report(1));
  send(report(2));
  await vi.waitFor(async () => expect((await take(reports)).dataJson).toBe(dataOf(2)), WAIT);
  expect((await take(reports)).ageMs).toBeLessThan(5_000);
  expect(dialled.filter((one) => one.startsWith("WS"))).toEqual(["WS /?interval=1"]);
});

it("asks REST of the same host while the feed is silent, and gives the old frame when that fails", async () => {
  let laterMs = 0;
  const reports = await open(() => laterMs);
  await expect(take(reports)).rejects.toMatchObject({
    reason: "UNAVAILABLE",
    message: expect.stringMatching(/BERTH_METRICS_URL.*answers 503/),
  });
  send(report(1));
  await vi.waitFor(async () => expect((await take(reports)).dataJson).toBe(dataOf(1)), WAIT);
  laterMs = 60_000;
  expect((await take(reports)).ageMs).toBeGreaterThan(59_000);
  rest = { status: 200, text: report(7) };
  expect(await take(reports)).toEqual({ dataJson: dataOf(7), ageMs: 0 });
  expect(dialled.at(-1)).toBe("GET /metrics/report");
});

it("counts a report as old as it says, however lately it came", async () => {
  const made = (agoMs: number) => {
    const generated_at = new Date(Date.now() - agoMs).toISOString();
    return JSON.stringify({ success: true, data: { subjects: {}, generated_at } });
  };
  const reports = await open();
  send(made(3_600_000));
  await vi.waitFor(
    async () => expect((await take(reports)).ageMs).toBeGreaterThan(3_599_000),
    WAIT,
  );
  rest = { status: 200, text: made(1_800_000) };
  expect((await take(reports)).ageMs).toBeLessThan(1_900_000);
  expect((await take(reports)).ageMs).toBeGreaterThan(1_799_000);
  send(made(-60_000));
  await vi.waitFor(async () => expect((await take(reports)).ageMs).toBeLessThan(5_000), WAIT);
});

it("takes no frame that is no report", async () => {
  const reports = await open();
  rest = { status: 200, text: report(7) };
  for (const text of ["no JSON", "[]", '{"data": 7}', '{"success": false, "error": "x"}'])
    send(text);
  send(dataOf(3));
  await vi.waitFor(async () => expect((await take(reports)).dataJson).toBe(dataOf(3)), WAIT);
});

it("dials again when the feed goes away", async () => {
  const reports = await open();
  send(report(1));
  await vi.waitFor(async () => expect((await take(reports)).dataJson).toBe(dataOf(1)), WAIT);
  await close();
  await listen(port);
  await vi.waitFor(() => expect(feed.clients.size).toBe(1), WAIT);
  send(report(2));
  await vi.waitFor(async () => expect((await take(reports)).dataJson).toBe(dataOf(2)), WAIT);
});

it.each(["", "http://127.0.0.1:8765", "x"])("refuses the URL %j", (url) => {
  const make = () => new FeedReports({ url, clock: systemClock, logger: silentLogger });
  expect(make).toThrow("BERTH_METRICS_URL: expected ws://… or wss://…");
});

it.each(["abc", "0", "3601", "1.5", "1e3"])("refuses the interval %s of a feed", (interval) => {
  const url = `ws://127.0.0.1:8765/ws/metrics?interval=${interval}`;
  const make = () => new FeedReports({ url, clock: systemClock, logger: silentLogger });
  expect(make).toThrow(
    `BERTH_METRICS_URL: expected an interval of 1 to 3600 seconds, got "${interval}"`,
  );
});
