import http from "node:http";
import type { AddressInfo } from "node:net";
import {
  createHttpServer,
  type LogFields,
  type Logger,
  loopbackAuthenticator,
  silentLogger,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type AliasPort, aliasPorts } from "./alias-ports.ts";

let rest: FastifyInstance;
let warnings: { readonly message: string; readonly fields: LogFields | undefined }[];
let listening: number[];
let parts: ReturnType<typeof aliasPorts>[];

const logger: Logger = {
  ...silentLogger,
  warn: (message, fields) => void warnings.push({ message, fields }),
};

beforeEach(() => {
  [warnings, listening, parts] = [[], [], []];
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  rest.get("/where", async (request) => ({ org: request.principal.orgId }));
  rest.get("/endless", (_request, reply) => {
    reply.hijack();
    reply.raw.write("begun");
  });
});
afterEach(async () => {
  for (const part of parts) await part.stop();
  await rest.close();
});

const alias = (port: number): AliasPort => ({ name: "registry", port, setting: "BERTH_X_PORT" });

async function opened(host: string, ...ports: readonly AliasPort[]) {
  const onListening = (_alias: AliasPort, port: number) => void listening.push(port);
  const part = aliasPorts(rest, { host, ports, logger, onListening });
  parts.push(part);
  await part.start();
  return part;
}

it("answers on every alias as on the main port, with its manners", async () => {
  await opened("127.0.0.1", alias(0), alias(0));
  expect(listening).toHaveLength(2);
  for (const port of listening) {
    const answer = await fetch(`http://127.0.0.1:${port}/where`);
    expect(await answer.json()).toEqual({ org: "default_org" });
    const foreign = await fetch(`http://127.0.0.1:${port}/where`, {
      headers: { origin: "https://example.com" },
    });
    expect(foreign.status).toBe(403);
  }
});

it("warns of a port that is taken, naming its setting, and opens the others", async () => {
  const other = http.createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  try {
    await opened("127.0.0.1", alias(port), alias(0));
    expect(warnings).toEqual([
      {
        message: "an alias port is not served",
        fields: {
          alias: "registry",
          setting: "BERTH_X_PORT",
          why: `port ${port} on 127.0.0.1 is taken by another program; set BERTH_X_PORT to another port`,
        },
      },
    ]);
    expect(listening).toHaveLength(1);
    expect((await fetch(`http://127.0.0.1:${listening[0]}/where`)).status).toBe(200);
  } finally {
    other.close();
  }
});

it("opens nothing where other machines could reach it", async () => {
  await opened("0.0.0.0", alias(0));
  expect([listening, warnings]).toEqual([[], []]);
});

it("closes with answers under way", async () => {
  const part = await opened("127.0.0.1", alias(0));
  const answer = await fetch(`http://127.0.0.1:${listening[0]}/endless`);
  const body = answer.text();
  body.catch(() => undefined);
  await part.stop();
  parts = [];
  await expect(body).rejects.toThrow();
  await expect(fetch(`http://127.0.0.1:${listening[0]}/where`)).rejects.toThrow();
});
