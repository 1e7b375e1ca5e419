import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import tls from "node:tls";
import { BerthError } from "../errors.ts";
import { sha256 } from "./enrolment-token.ts";

const HANDSHAKE_LIMIT_MS = 10_000;
const MAX_CHAIN = 10;

/** A server whose CA is known by its pin only. */
export interface PinnedServer {
  /** "https://10.0.0.1:7443". */
  readonly url: string;
  /** SHA-256 of the CA certificate's DER, 43 base64url characters. */
  readonly pin: string;
  /** Name of the server in messages: "control-plane". */
  readonly server: string;
}

/** Pin of a certificate in PEM: SHA-256 of its DER in base64url; undefined when it is none. */
export function certificatePin(pem: string): string | undefined {
  try {
    return pinOf(new X509Certificate(pem));
  } catch {
    return undefined;
  }
}

/**
 * Fetches a server's CA certificate (PEM) over TLS and trusts it by its pin alone, as kubeadm's
 * discovery hash and k3s's secure tokens do: the presented chain must hold the pinned certificate, and
 * the leaf must be signed by it and be valid now. Nothing is sent to the server. Rejects with
 * UNAVAILABLE when no handshake is done within 10 s, UNAUTHENTICATED when the pin does not hold.
 */
export async function fetchPinnedCa(server: PinnedServer, signal: AbortSignal): Promise<string> {
  const chain = await presentedChain(server, signal);
  const [leaf] = chain;
  const ca = chain.find((certificate) => pinOf(certificate) === server.pin);
  if (leaf === undefined || ca === undefined) {
    const message = `the ${server.server} at ${server.url} shows no certificate of the CA that the enrolment token names: either it is another server, or its CA is new and \`berth token create\` there gives a token that fits`;
    throw new BerthError("UNAUTHENTICATED", message);
  }
  const flaw = flawOf(leaf, ca);
  if (flaw !== undefined) {
    throw new BerthError("UNAUTHENTICATED", `the ${server.server} at ${server.url}: ${flaw}`);
  }
  return ca.toString();
}

function pinOf(certificate: X509Certificate): string {
  return sha256(certificate.raw).toString("base64url");
}

function flawOf(leaf: X509Certificate, ca: X509Certificate): string | undefined {
  if (!ca.ca) return "the certificate that the token names is not one of a CA";
  if (!leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) {
    return "its certificate is not signed by the CA that the token names";
  }
  const now = Date.now();
  if (now < leaf.validFromDate.getTime() || now > leaf.validToDate.getTime()) {
    return `its certificate is valid from ${leaf.validFrom} to ${leaf.validTo} only; check the clocks of both machines`;
  }
  return undefined;
}

function presentedChain(
  { url, server }: PinnedServer,
  signal: AbortSignal,
): Promise<readonly X509Certificate[]> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host,
      port: port === "" ? 443 : Number(port),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ["h2"],
      minVersion: "TLSv1.2",
      // The chain is judged by the pin, before anything is sent.
      rejectUnauthorized: false,
    });
    const stop = () => socket.destroy(asError(signal.reason));
    const unavailable = (why: string, cause?: unknown) =>
      new BerthError("UNAVAILABLE", `the ${server} at ${url} cannot be reached: ${why}`, { cause });
    const late = () => socket.destroy(unavailable("no TLS handshake within 10 s"));
    const timer = setTimeout(late, HANDSHAKE_LIMIT_MS);
    signal.addEventListener("abort", stop, { once: true });
    socket.once("secureConnect", () => {
      resolve(chainOf(socket));
      socket.destroy();
    });
    socket.on("error", (cause) => {
      const expected = cause instanceof BerthError || signal.aborted;
      reject(expected ? cause : unavailable(cause.message, cause));
    });
    socket.once("close", () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      reject(unavailable("it closed the connection"));
    });
    if (signal.aborted) stop();
  });
}

function chainOf(socket: tls.TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  while (next !== undefined && chain.length < MAX_CHAIN) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
