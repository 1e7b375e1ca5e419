import { CliError, errorCodeOf, messageOf, usageError } from "../cli-error.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import { parseLossless } from "../json.ts";
import { printable } from "./table.ts";

/** Where requests go when neither `--server` nor BERTH_SERVER says. */
export const DEFAULT_SERVER = "http://127.0.0.1:8000";

/** Where requests to a cluster-agent go when neither `--agent` nor BERTH_AGENT_SERVER says. */
export const DEFAULT_AGENT = "http://127.0.0.1:32000";

/** One request to a control-plane or a cluster-agent. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** Path with its leading slash, already encoded. */
  readonly path: string;
  /** JSON body; raw numbers are written as they were read. */
  readonly body?: unknown;
}

/** A control-plane to talk to, or another program of Berth. */
export interface ApiServer {
  /** Origin without a trailing slash: "http://127.0.0.1:8000". */
  readonly url: string;
  /** Longest time for one request and its whole answer, ms. */
  readonly timeoutMs: number;
  /** What it is, in messages: "control-plane" by default. */
  readonly noun?: string;
  /** How another address is chosen, in messages: "--server or BERTH_SERVER" by default. */
  readonly chosenBy?: string;
}

const CHOSEN_BY = "--server or BERTH_SERVER";
const NOUN = "control-plane";

/** What one HTTP exchange gave. */
export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** What a successful answer holds. */
export interface ApiData {
  readonly data: unknown;
  /** What the server did not refuse but finds odd, such as unknown cluster ids. */
  readonly warnings: readonly string[];
}

/** Reads a server address; a missing "http://" is added. Throws a usage error for anything else. */
export function parseServer(text: string, option = "--server"): string {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw usageError(
      `${option} ${JSON.stringify(text)}: expected an address such as ${option === "--server" ? DEFAULT_SERVER : DEFAULT_AGENT}`,
    );
  }
  return url.href.replace(/\/+$/, "");
}

/**
 * Sends a request and gives the answer's data, numbers as the server wrote them. Throws a CliError
 * that says what to do next when the server is not there, refuses, or is no control-plane.
 */
export async function requestData(server: ApiServer, request: ApiRequest): Promise<unknown> {
  return (await requestAnswer(server, request)).data;
}

/** {@link requestData} with the warnings beside the data. */
export async function requestAnswer(server: ApiServer, request: ApiRequest): Promise<ApiData> {
  return readAnswer(await send(server, request), server);
}

/** The data in an answer, or the CliError that the answer is. */
export function readAnswer(answer: ApiAnswer, server: Omit<ApiServer, "timeoutMs">): ApiData {
  const body = parseBody(answer, server);
  // The registry's lists come bare, as its clients have always read them.
  if (answer.status === 200 && Array.isArray(body)) return { data: body, warnings: [] };
  if (at(body, "success") === true) {
    const warnings = listAt(body, "warnings")
      .filter((line) => typeof line === "string")
      .map(oneLine);
    return { data: at(body, "data") ?? null, warnings };
  }
  const message = textAt(body, "message") ?? textAt(body, "error");
  // So does what a deletion there answers: {"message": "Cluster deleted"}.
  if (answer.status === 200 && message !== undefined && at(body, "success") === undefined) {
    return { data: body, warnings: [] };
  }
  if (message === undefined) throw notBerth(answer, server);
  const reason = textAt(body, "reason");
  throw new CliError(oneLine(reason === undefined ? message : `${message} (${reason})`));
}

/** Texts of a server may be a policy's own words: nothing in them is to reach the terminal as a command. */
function oneLine(text: string): string {
  return printable(text.replace(/\s*[\r\n]\s*/g, " "));
}

function parseBody(answer: ApiAnswer, server: Omit<ApiServer, "timeoutMs">): unknown {
  try {
    return parseLossless(answer.text);
  } catch (cause) {
    throw notBerth(answer, server, cause);
  }
}

function notBerth(
  { status }: ApiAnswer,
  { url, noun = NOUN, chosenBy = CHOSEN_BY }: Omit<ApiServer, "timeoutMs">,
  cause?: unknown,
): CliError {
  return new CliError(
    `${url} answered HTTP ${status}, but not as a Berth ${noun} does: check ${chosenBy}`,
    { cause },
  );
}

async function send(server: ApiServer, request: ApiRequest): Promise<ApiAnswer> {
  const hasBody = request.body !== undefined;
  try {
    const response = await fetch(`${server.url}${request.path}`, {
      method: request.method,
      headers: {
        accept: "application/json",
        ...(hasBody ? { "content-type": "application/json" } : {}),
      },
      ...(hasBody ? { body: JSON.stringify(request.body) } : {}),
      redirect: "error",
      signal: AbortSignal.timeout(server.timeoutMs),
    });
    return { status: response.status, text: await response.text() };
  } catch (cause) {
    throw unreachable(server, cause);
  }
}

function unreachable(server: ApiServer, cause: unknown): CliError {
  const { url, noun = NOUN, chosenBy = CHOSEN_BY } = server;
  if (cause instanceof Error && cause.name === "TimeoutError") {
    const seconds = server.timeoutMs / 1000;
    return new CliError(
      `${url} did not answer within ${seconds} s: --timeout allows more, the log of the ${noun} may say why`,
      { cause },
    );
  }
  const inner = cause instanceof Error ? cause.cause : undefined;
  const why = errorCodeOf(inner) ?? messageOf(inner ?? cause);
  return new CliError(
    `${url} cannot be reached (${why}): is \`npm start\` running? ${chosenBy} choose another address`,
    { cause },
  );
}
