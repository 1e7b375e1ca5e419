import process from "node:process";
import { afterEach, describe, expect, it } from "vitest";
import type { Part } from "../lifecycle.ts";
import { type LogFields, silentLogger } from "../log.ts";
import { ScrapeRegistry } from "./scrape-registry.ts";
import { scrapeServer } from "./scrape-server.ts";

const parts: Part[] = [];

afterEach(async () => {
  for (const part of parts.splice(0)) await part.stop();
});

async function started(port = 0, warn: (text: string, fields?: LogFields) => void = () => {}) {
  const registry = new ScrapeRegistry({ program: "test", version: "0.0.0", usage: process });
  let open = 0;
  const part = scrapeServer({
    registry,
    address: { host: "127.0.0.1", port, setting: "BERTH_METRICS_PORT" },
    origins: { allowedHosts: [], allowedOrigins: [] },
    logger: { ...silentLogger, warn },
    onListening: (at) => {
      open = at;
    },
  });
  parts.push(part);
  await part.start();
  return open;
}

describe("scrapeServer", () => {
  it("answers GET /metrics in the text format", async () => {
    const port = await started();
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(await response.text()).toContain("process_resident_memory_bytes ");
  });

  it("answers 404 for everything else and 403 for a page of another origin", async () => {
    const url = `http://127.0.0.1:${await started()}`;
    expect((await fetch(`${url}/`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: "POST", body: "x" })).status).toBe(404);
    const foreign = await fetch(`${url}/metrics`, { headers: { origin: "https://evil.example" } });
    expect(foreign.status).toBe(403);
    expect(await foreign.text()).toContain("BERTH_ALLOWED_ORIGINS");
  });

  it("starts without serving when its port is taken, and says which setting to change", async () => {
    const port = await started();
    const told: unknown[] = [];
    const second = await started(port, (_text, fields) => told.push(fields?.why));
    expect(second).toBe(0);
    expect(told).toEqual([expect.stringContaining("set BERTH_METRICS_PORT to another port")]);
  });
});
