import { CliError, errorCodeOf, messageOf, usageError } from "../cli-error.ts";
import { at, listAt, numberAt, textAt } from "../cluster-view.ts";
import { parseLossless } from "../json.ts";
import { printable } from "./table.ts";

/** Where requests go when neither `--server` nor BERTH_SERVER says. */
export const DEFAULT_SERVER = "http://127.0.0.1:8000";

/** Where requests to a cluster-agent go when neither `--agent` nor BERTH_AGENT_SERVER says. */
export const DEFAULT_AGENT = "http://127.0.0.1:32000";

/** One request to a control-plane or a cluster-agent. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Path with its leading slash, already encoded. */
  readonly path: string;
  /** JSON body; raw numbers are written as they were read. */
  readonly body?: unknown;
  /**
   * Whether the answer's numbers may become numbers of JavaScript: fifteen times faster than to keep them as
   * they were written, and no different where the server computed them.
   */
  readonly plainNumbers?: true;
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
  /** What runs it, in messages: "npm start" by default. */
  readonly startedBy?: string;
}

const CHOSEN_BY = "--server or BERTH_SERVER";
const NOUN = "control-plane";
const STARTED_BY = "npm start";

const STREAM_TYPE = "application/x-ndjson";

/** The control-plane answered, and refused. */
export class RefusedError extends CliError {
  /** HTTP status of the answer. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

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
  /** Where the next page begins (`after`); undefined on the last page, and where there are no pages. */
  readonly next?: string;
  /** Items that the list has beside these; undefined when it has none, or does not say. */
  readonly more?: number;
}

/**
 * Reads a server address; a missing "http://" is added. Throws a usage error, with an example, for anything
 * else.
 */
export function parseServer(text: string, option = "--server", example = DEFAULT_SERVER): string {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw usageError(`${option} ${JSON.stringify(text)}: expected an address such as ${example}`);
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
  const parse = request.plainNumbers ? (text: string): unknown => JSON.parse(text) : parseLossless;
  return readAnswer(await send(server, request), server, parse);
}

/** The data in an answer, or the CliError that the answer is. */
export function readAnswer(
  answer: ApiAnswer,
  server: Omit<ApiServer, "timeoutMs">,
  parse: (text: string) => unknown = parseLossless,
): ApiData {
  const body = parseBody(answer, server, parse);
  // The registry's lists come bare, as its clients have always read them.
  if (answer.status === 200 && Array.isArray(body)) return { data: body, warnings: [] };
  if (at(body, "success") === true) {
    const warnings = listAt(body, "warnings")
      .filter((line) => typeof line === "string")
      .map(oneLine);
    const next = textAt(body, "next");
    const more = numberAt(body, "more");
    return {
      ...{ data: at(body, "data") ?? null, warnings },
      ...(next === undefined ? {} : { next }),
      ...(more === 0 ? {} : { more }),
    };
  }
  const message = textAt(body, "message") ?? textAt(body, "error");
  // So does what a deletion there answers: {"message": "Cluster deleted"}.
  if (answer.status === 200 && message !== undefined && at(body, "success") === undefined) {
    return { data: body, warnings: [] };
  }
  if (message === undefined) throw notBerth(answer, server);
  const reason = textAt(body, "reason");
  const said = oneLine(reason === undefined ? message : `${message} (${reason})`);
  throw new RefusedError(answer.status, said);
}

/** Texts of a server may be a policy's own words: nothing in them is to reach the terminal as a command. */
function oneLine(text: string): string {
  return printable(text.replace(/\s*[\r\n]\s*/g, " "));
}

/**
 * Opens an answer that goes on (`application/x-ndjson`) and gives its text as it comes, until the server
 * ends it or the signal is aborted. Throws as {@link requestData} does; the server's time limit holds for
 * the beginning of the answer.
 */
export async function openStream(
  server: ApiServer,
  path: string,
  signal: AbortSignal,
): Promise<AsyncIterable<string>> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(timeLimitError()), server.timeoutMs);
  try {
    const response = await fetch(`${server.url}${path}`, {
      headers: { accept: STREAM_TYPE },
      redirect: "error",
      signal: AbortSignal.any([signal, limit.signal]),
    });
    const isStream = response.headers.get("content-type")?.startsWith(STREAM_TYPE) === true;
    if (response.status === 200 && isStream && response.body !== null) {
      return response.body.pipeThrough(new TextDecoderStream());
    }
    const answer = { status: response.status, text: await response.text() };
    readAnswer(answer, server);
    throw notBerth(answer, server);
  } catch (thrown) {
    throw thrown instanceof CliError ? thrown : unreachable(server, thrown);
  } finally {
    clearTimeout(timer);
  }
}

function timeLimitError(): DOMException {
  return new DOMException("the time limit was reached", "TimeoutError");
}

function parseBody(
  answer: ApiAnswer,
  server: Omit<ApiServer, "timeoutMs">,
  parse: (text: string) => unknown,
): unknown {
  try {
    return parse(answer.text);
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
  const { url, noun = NOUN, chosenBy = CHOSEN_BY, startedBy = STARTED_BY } = server;
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
    `${url} cannot be reached (${why}): is \`${startedBy}\` running? ${chosenBy} choose another address`,
    { cause },
  );
}
