import { X509Certificate } from "node:crypto";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BerthError } from "../errors.ts";
import { makeDirectory } from "../make-directory.ts";
import { readIfThere, writeDurably } from "./durable-file.ts";
import {
  type EnrolmentToken,
  isSecret,
  newSecret,
  requireToken,
  sha256,
} from "./enrolment-token.ts";
import { certificatePin, fetchPinnedCa } from "./pinned-ca.ts";

/** Who an agent is towards one server, and whom it trusts there. */
export interface AgentIdentity {
  /** Header of every call but Enrol: "Bearer <own key>". */
  readonly authorization: string;
  /** SHA-256 (32 bytes) of the own key's text, for Enrol. */
  readonly keySha256: Uint8Array;
  /** Header of Enrol: "Bearer <enrolment secret>"; undefined when no token is configured. */
  readonly enrolmentAuthorization: string | undefined;
  /**
   * CA to trust for the server, as PEM; undefined for http: URLs. Ask before each dial: it is read
   * again, as the operator may have replaced it. Waits up to 10 s for a CA file or a handshake and
   * rejects with a BerthError that says what to do when nothing can be trusted; rejects with the
   * signal's reason when that is aborted.
   */
  serverCa(signal: AbortSignal): Promise<string | undefined>;
}

/** How {@link openAgentIdentity} finds the agent's key and its trust. */
export interface AgentIdentityOptions {
  /** The agent's own directory. */
  readonly directory: string;
  /** Name of the server, "control-plane" or "cluster-agent": prefix of the files. */
  readonly server: string;
  /** URL that the agent dials: "https://10.0.0.1:7443". */
  readonly url: string;
  /** Text of an enrolment token (BERTH_ENROLMENT_TOKEN); undefined or "" when there is none. */
  readonly enrolmentToken: string | undefined;
  /** PEM file of the CA to trust (BERTH_CA_FILE); undefined or "" when there is none. */
  readonly caFile?: string | undefined;
}

const CA_FILE_WAIT_MS = 10_000;
const CA_FILE_POLL_MS = 100;

/**
 * Opens the agent's identity towards one server. The key is made at first and is durable in
 * `<server>.key` (0600) before it is returned. Rejects with INVALID_ARGUMENT for a malformed token and
 * UNAVAILABLE, naming the file, for a malformed key or a directory that cannot be used.
 */
export async function openAgentIdentity(options: AgentIdentityOptions): Promise<AgentIdentity> {
  const { enrolmentToken, caFile } = options;
  const token =
    enrolmentToken === undefined || enrolmentToken === ""
      ? undefined
      : requireToken("BERTH_ENROLMENT_TOKEN", enrolmentToken);
  const key = await openKey(options.directory, options.server);
  const trust = { ...options, token, caFile: caFile === "" ? undefined : caFile };
  return {
    authorization: `Bearer ${key}`,
    keySha256: sha256(key),
    enrolmentAuthorization: token && `Bearer ${token.secret}`,
    serverCa: (signal) => serverCa(trust, signal),
  };
}

async function openKey(directory: string, server: string): Promise<string> {
  const file = path.join(directory, `${server}.key`);
  try {
    makeDirectory(directory);
    const kept = await readIfThere(file);
    if (kept !== undefined) return checkedKey(file, kept.trim());
    const key = newSecret();
    await writeDurably(file, `${key}\n`);
    return key;
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("UNAVAILABLE", `the key file ${file} cannot be used: ${why}`, { cause });
  }
}

function checkedKey(file: string, key: string): string {
  if (isSecret(key)) return key;
  const message = `the key file ${file} is damaged: expected 43 base64url characters; restore it, or remove it and enrol again with a token (\`berth token create\`)`;
  throw new BerthError("UNAVAILABLE", message);
}

interface Trust {
  readonly directory: string;
  readonly server: string;
  readonly url: string;
  readonly token: EnrolmentToken | undefined;
  readonly caFile: string | undefined;
}

async function serverCa(trust: Trust, signal: AbortSignal): Promise<string | undefined> {
  signal.throwIfAborted();
  const { caFile, server, token, url } = trust;
  const wantsPin = token?.caPin;
  if (new URL(url).protocol !== "https:") {
    if (wantsPin === undefined) return undefined;
    const message = `the enrolment token is of a ${server} with TLS: use https:// in ${url}`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
  if (caFile !== undefined) return caFromFile(caFile, signal);
  const keptFile = path.join(trust.directory, `${server}-ca.pem`);
  const kept = await readIfThere(keptFile);
  const keptPin = kept === undefined ? undefined : certificatePin(kept);
  if (keptPin !== undefined && (wantsPin === undefined || wantsPin === keptPin)) return kept;
  if (wantsPin === undefined) {
    const message = `the CA of the ${server} at ${url} is not known: set BERTH_ENROLMENT_TOKEN to a token that \`berth token create\` prints there, or BERTH_CA_FILE to its ca.pem`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
  const ca = await fetchPinnedCa({ url, pin: wantsPin, server }, signal);
  await writeDurably(keptFile, ca);
  return ca;
}

/** The supervisor starts the server at the same time, so its file may be a moment away. */
async function caFromFile(file: string, signal: AbortSignal): Promise<string> {
  const deadline = performance.now() + CA_FILE_WAIT_MS;
  for (;;) {
    const text = await readCaFile(file);
    if (text !== undefined) return text;
    if (performance.now() > deadline) {
      const message = `BERTH_CA_FILE: ${file} is not there; the server makes its ca.pem when it starts with TLS`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    await delay(CA_FILE_POLL_MS, undefined, { signal });
  }
}

async function readCaFile(file: string): Promise<string | undefined> {
  try {
    const text = await readIfThere(file);
    if (text !== undefined) new X509Certificate(text);
    return text;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `BERTH_CA_FILE: ${file} is no certificate in PEM that can be read: ${why}`;
    throw new BerthError("PRECONDITION_FAILED", message, { cause });
  }
}
