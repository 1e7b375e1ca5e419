// An inference block that answers with what it was asked: how a component talks to Berth, in one file without
// dependencies. Node >= 20.

import { createServer } from "node:http";

const MAX_BODY_BYTES = 1_048_576;
const MAX_PARAMETERS_BYTES = 65_536;
const MAX_FAILING_MS = 86_400_000;
/** Open requests end within this after SIGTERM, in ms, or are cut off. */
const DEPARTURE_MS = 3_000;
const STAGES = ["on_preprocess", "on_data", "end_to_end"];

/** A request that cannot be answered as asked. */
class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Everything that the block knows of itself; a new one after `reset`. */
function freshState() {
  return {
    parameters: {},
    failingUntilMs: 0,
    stages: Object.fromEntries(STAGES.map((stage) => [stage, { count: 0, seconds: 0 }])),
  };
}

const env = process.env;
const startedMs = performance.now();
let state = freshState();
let openRequests = 0;

function identity() {
  const visible = env.NVIDIA_VISIBLE_DEVICES ?? "";
  return {
    block_id: env.BLOCK_ID ?? "",
    instance_id: env.INSTANCE_ID ?? "",
    cluster_id: env.CLUSTER_ID ?? "",
    node_id: env.NODE_ID ?? env.KUBERNETES_NODE_NAME ?? "",
    devices: visible === "void" ? [] : visible.split(",").filter((device) => device !== ""),
  };
}

function initData() {
  try {
    return JSON.parse(env.CUSTOM_INIT_DATA ?? "null");
  } catch {
    throw new RequestError(500, "CUSTOM_INIT_DATA is not JSON");
  }
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const actions = {
  info: () => ({
    ...identity(),
    parameters: state.parameters,
    init_data: initData(),
    uptime_seconds: (performance.now() - startedMs) / 1000,
  }),
  reset: () => {
    state = freshState();
    return { reset: true };
  },
  fail_health: (data) => {
    const forMs = data.for_ms;
    if (!Number.isInteger(forMs) || forMs < 0 || forMs > MAX_FAILING_MS) {
      const expected = `expected an integer from 0 to ${MAX_FAILING_MS}`;
      throw new RequestError(400, `mgmt_data.for_ms: ${expected}`);
    }
    state.failingUntilMs = performance.now() + forMs;
    return { failing_for_ms: forMs };
  },
};

function health() {
  const isFailing = performance.now() < state.failingUntilMs;
  return { success: true, data: { status: isFailing ? "unhealthy" : "healthy" } };
}

function manage({ mgmt_action: action, mgmt_data: data = {} }) {
  if (typeof action !== "string" || action === "") {
    throw new RequestError(400, "mgmt_action is required");
  }
  if (!Object.hasOwn(actions, action)) {
    const known = Object.keys(actions).join(", ");
    throw new RequestError(400, `mgmt_action: expected one of ${known}`);
  }
  if (!isObject(data)) throw new RequestError(400, "mgmt_data: expected an object");
  return { success: true, data: actions[action](data) };
}

function setParameters(update) {
  const merged = { ...state.parameters, ...update };
  if (Buffer.byteLength(JSON.stringify(merged)) > MAX_PARAMETERS_BYTES) {
    throw new RequestError(
      400,
      `parameters: expected at most ${MAX_PARAMETERS_BYTES} bytes of JSON`,
    );
  }
  state.parameters = merged;
  return { success: true, updated_parameters: update };
}

function infer(request) {
  if (request.text === undefined && request.data === undefined) {
    throw new RequestError(400, "text or data is required");
  }
  const { instance_id, devices } = identity();
  const { text, data } = request;
  return {
    success: true,
    data: { text, data, instance_id, devices, parameters: state.parameters },
  };
}

function metrics() {
  const lines = [];
  const metric = (name, type, help, value) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`);
  };
  for (const stage of STAGES) {
    const { count, seconds } = state.stages[stage];
    metric(`${stage}_count_total`, "counter", `Requests that passed ${stage}.`, count);
    metric(`${stage}_latency`, "gauge", `Seconds that the last one took in ${stage}.`, seconds);
    metric(`${stage}_fps`, "gauge", "Requests a second at that speed.", seconds && 1 / seconds);
  }
  metric("queue_length", "gauge", "Requests being answered.", openRequests);
  metric("uptime", "gauge", "Seconds since the start.", (performance.now() - startedMs) / 1000);
  return `${lines.join("\n")}\n`;
}

/** Counts one pass through a stage, and gives what it made. */
function timed(stage, work) {
  const began = performance.now();
  const result = work();
  note(stage, began);
  return result;
}

function note(stage, began) {
  const entry = state.stages[stage];
  entry.count += 1;
  entry.seconds = (performance.now() - began) / 1000;
}

async function bodyOf(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw new RequestError(413, `body: expected at most ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function objectOf(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestError(400, "body: expected JSON");
  }
  if (!isObject(value)) throw new RequestError(400, "body: expected a JSON object");
  return value;
}

async function inferTimed(request) {
  const began = performance.now();
  const text = await bodyOf(request);
  const asked = timed("on_preprocess", () => objectOf(text));
  const answer = timed("on_data", () => infer(asked));
  note("end_to_end", began);
  return answer;
}

const routes = {
  "GET /health": health,
  "GET /metrics": metrics,
  "POST /mgmt": async (request) => manage(objectOf(await bodyOf(request))),
  "POST /setParameters": async (request) => setParameters(objectOf(await bodyOf(request))),
  "POST /infer": inferTimed,
};

function answer(response, status, body) {
  const isText = typeof body === "string";
  const type = isText ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
  const text = isText ? body : JSON.stringify(body);
  // The rest of a body that was too large is not read.
  const connection = status === 413 ? { connection: "close" } : {};
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(text),
    ...connection,
  });
  response.end(text);
}

async function respond(request, response, served) {
  const route = `${request.method} ${(request.url ?? "").split("?")[0]}`;
  try {
    if (!served.includes(route)) throw new RequestError(404, `no such route: ${route}`);
    const body = await routes[route](request);
    answer(response, body.data?.status === "unhealthy" ? 503 : 200, body);
  } catch (error) {
    const status = error instanceof RequestError ? error.status : 500;
    if (status === 500) process.stderr.write(`${error?.stack}\n`);
    if (!response.headersSent)
      answer(response, status, { success: false, message: error?.message });
  }
}

function serve(served) {
  const server = createServer((request, response) => {
    openRequests += 1;
    response.on("close", () => {
      openRequests -= 1;
    });
    void respond(request, response, served);
  });
  server.requestTimeout = 30_000;
  server.maxConnections = 512;
  return server;
}

function listen(server, variable, standard) {
  const port = env[variable] === undefined ? standard : Number(env[variable]);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    process.stderr.write(`${variable}: expected a port, got ${JSON.stringify(env[variable])}\n`);
    process.exit(1);
  }
  const host = env.BERTH_LISTEN_HOST ?? "127.0.0.1";
  server.on("error", (error) => {
    process.stderr.write(`${variable}: cannot listen on ${host}:${port}: ${error.message}\n`);
    process.exit(1);
  });
  server.listen(port, host, () => {
    process.stdout.write(`${variable}: listening on ${host}:${server.address().port}\n`);
  });
}

const control = serve(Object.keys(routes));
const scraped = serve(["GET /metrics"]);
listen(control, "BERTH_CONTROL_PORT", 18_001);
listen(scraped, "BERTH_METRICS_PORT", 18_000);

function leave() {
  const limit = setTimeout(() => {
    for (const server of [control, scraped]) server.closeAllConnections();
  }, DEPARTURE_MS);
  limit.unref();
  for (const server of [control, scraped]) {
    server.close();
    server.closeIdleConnections();
  }
}

process.once("SIGTERM", leave);
process.once("SIGINT", leave);
