import type { HostClient, HostMethod, HostReply } from "../request.ts";
import { scanJson } from "./json-scan.ts";

/** What a worker asks of a host client. */
interface HostCall {
  readonly client: string;
  /** Null calls the client itself. */
  readonly method: string | null;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** Bounds of one call. */
export interface HostCallLimits {
  readonly deadlineMs: number;
  readonly replyBytes: number;
}

const MAX_CALL_CHARS = 256 * 1024;
const MAX_DEPTH = 64;
const MAX_NAME_CHARS = 200;

/** The reply that raises an exception in the policy. */
export function raiseReply(type: string, message: string): string {
  return JSON.stringify({ kind: "raise", type: type.slice(0, MAX_NAME_CHARS), message });
}

/**
 * Answers one host call: JSON text to JSON text. Never rejects: whatever goes wrong becomes an exception in
 * the policy. The text comes from a worker and is hostile.
 */
export async function answerHostCall(
  text: string,
  clients: Readonly<Record<string, HostClient>>,
  options: { limits: HostCallLimits; signal: AbortSignal },
): Promise<string> {
  if (text.length > MAX_CALL_CHARS) {
    return raiseReply("ValueError", `the arguments exceed ${MAX_CALL_CHARS} characters`);
  }
  if (scanJson(text).depth > MAX_DEPTH + 2) {
    return raiseReply("ValueError", `the arguments are nested more than ${MAX_DEPTH} deep`);
  }
  const call = parseCall(text);
  const method = call === null ? null : findMethod(call, clients);
  if (call === null || method === null) return raiseReply("RuntimeError", "unknown host call");
  const { limits, signal } = options;
  const deadline = AbortSignal.timeout(Math.max(1, Math.ceil(limits.deadlineMs)));
  const both = AbortSignal.any([deadline, signal]);
  try {
    const reply = await abortable(async () => method(call.args, call.kwargs, both), both);
    return checkReply(renderReply(reply), limits.replyBytes);
  } catch (error) {
    const name = `${call.client}.${call.method ?? "()"}`;
    if (both.aborted) return raiseReply("TimeoutError", `${name} did not answer in time`);
    return raiseReply("RuntimeError", `${name} failed: ${messageOf(error)}`);
  }
}

function parseCall(text: string): HostCall | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  const { client, method, args, kwargs } = value;
  if (typeof client !== "string" || !(method === null || typeof method === "string")) return null;
  if (!Array.isArray(args) || !isRecord(kwargs)) return null;
  return { client, method, args, kwargs };
}

function findMethod(
  call: HostCall,
  clients: Readonly<Record<string, HostClient>>,
): HostMethod | null {
  const client = Object.hasOwn(clients, call.client) ? clients[call.client] : undefined;
  if (client === undefined) return null;
  if (call.method === null) return client.callable ?? null;
  return Object.hasOwn(client.methods, call.method) ? (client.methods[call.method] ?? null) : null;
}

/** The texts are put together, not parsed: the host's numbers reach Python as they are. */
function renderReply(reply: HostReply): string {
  switch (reply.kind) {
    case "value":
      return `{"kind":"value","value":${reply.json}}`;
    case "tuple":
      return `{"kind":"tuple","items":[${reply.items.join(",")}]}`;
    case "raise":
      return raiseReply(reply.type, reply.message);
  }
}

function checkReply(text: string, maxBytes: number): string {
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes) {
    return raiseReply("RuntimeError", `the host's reply exceeds ${maxBytes} bytes`);
  }
  if (scanJson(text).depth > MAX_DEPTH + 2) {
    return raiseReply("RuntimeError", `the host's reply is nested more than ${MAX_DEPTH} deep`);
  }
  return text;
}

async function abortable<T>(action: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(new Error("aborted"));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  action().then(resolve, reject);
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 1_000) : "unknown failure";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
