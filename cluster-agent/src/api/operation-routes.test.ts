import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { OperationRecord, OperationState } from "../actions/operation.ts";
import { addOperationRoutes } from "./operation-routes.ts";

let server: ReturnType<typeof createHttpServer>;
let asked: string[];

function operation(id: string, state: OperationState, blockId = "b"): OperationRecord {
  return {
    ...{ id, action: "scale", blockId, inputJson: "{}", plan: {}, state, step: "taking GPUs" },
    ...{ progress: { done: 1, total: 2 }, attempts: 1, createdAt: "c", updatedAt: "u" },
    ...(state === "stuck" ? { error: { reason: "CONFLICT", message: "no room" } } : {}),
  };
}

const ALL = [operation("o1", "done"), operation("o2", "stuck"), operation("o3", "done", "c")];

beforeEach(() => {
  asked = [];
  server = createHttpServer({
    ...{ origins: { allowedHosts: [], allowedOrigins: [] }, logger: silentLogger },
    authenticate: loopbackAuthenticator("default_org"),
  });
  const change = (verb: string, state: OperationState) => async (id: string) => {
    asked.push(`${verb} ${id}`);
    return operation(id, state);
  };
  addOperationRoutes(server, {
    book: { list: () => ALL, get: (id) => ALL.find((one) => one.id === id) },
    operations: { retry: change("retry", "running"), abandon: change("abandon", "abandoned") },
  });
});
afterEach(() => server.close());

async function ask(method: "GET" | "POST", url: string) {
  const answer = await server.inject({ method, url, headers: { host: "localhost" } });
  return { status: answer.statusCode, body: answer.json() };
}

const idsOf = async (url: string) =>
  (await ask("GET", url)).body.data.map((one: { operation_id: string }) => one.operation_id);

it("lists operations, those of a block or in a state, and a part of them; a limit of 0 is none", async () => {
  expect(await idsOf("/operations")).toEqual(["o1", "o2", "o3"]);
  expect(await idsOf("/operations?block_id=c")).toEqual(["o3"]);
  expect(await idsOf("/operations?state=stuck")).toEqual(["o2"]);
  expect(await idsOf("/operations?limit=1")).toEqual(["o1"]);
  expect(await idsOf("/operations?limit=0")).toEqual(["o1", "o2", "o3"]);
});

it("refuses a state that there is not, and names those that there are", async () => {
  const { status, body } = await ask("GET", "/operations?state=bogus");
  expect({ status, message: body.message }).toEqual({
    status: 400,
    message: 'state: expected one of running, undoing, done, failed, stuck, abandoned, got "bogus"',
  });
});

it("shows one with its error, and retries and abandons it", async () => {
  expect((await ask("GET", "/operations/o2")).body.data).toMatchObject({
    ...{ operation_id: "o2", state: "stuck", error: { reason: "CONFLICT", message: "no room" } },
    progress: { done: 1, total: 2 },
  });
  expect((await ask("GET", "/operations/none")).status).toBe(404);
  expect((await ask("POST", "/operations/o2/retry")).body.data.state).toBe("running");
  expect((await ask("POST", "/operations/o2/abandon")).body.data.state).toBe("abandoned");
  expect(asked).toEqual(["retry o2", "abandon o2"]);
});
