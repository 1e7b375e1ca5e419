import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import path from "node:path";
import { BerthError } from "../errors.ts";
import { makeDirectory } from "../make-directory.ts";
import { readIfThere, writeDurably } from "./durable-file.ts";
import { sha256 } from "./enrolment-token.ts";

/** A certificate of a server with its key, both PEM. */
export interface ServerCertificate {
  readonly key: string;
  /** Leaf, then the CA, so that an agent can find the CA by its pin. */
  readonly cert: string;
  readonly notAfter: Date;
}

/** A certificate authority of one program, for the port that its own agents dial. */
export interface Authority {
  /** The CA's certificate as PEM. */
  readonly caPem: string;
  /** SHA-256 of the CA certificate's DER, 43 base64url characters: part of enrolment tokens. */
  readonly pin: string;
  /**
   * Makes a key and a certificate for a server under these host names and IP addresses, valid for
   * {@link LEAF_DAYS} days. INVALID_ARGUMENT for no names.
   */
  issue(names: readonly string[]): Promise<ServerCertificate>;
}

/** Validity of a server's certificate, in days. */
export const LEAF_DAYS = 90;

/** What is in the CA's files. */
interface CaPair {
  readonly certPem: string;
  readonly keyPem: string;
}

/**
 * Opens the CA of a directory: `ca.pem` and `ca.key` (0600), made at first (EC P-256, 10 years, name
 * "Berth" with a random number). Rejects with UNAVAILABLE, naming the file, when one of the two is
 * damaged or missing. The X.509 library is loaded here, so that programs without TLS do without it.
 */
export async function openAuthority(directory: string): Promise<Authority> {
  const { issueLeaf, makeCa } = await import("./certificates.ts");
  const pair = await openCa(directory, makeCa);
  const certificate = new X509Certificate(pair.certPem);
  return {
    caPem: pair.certPem,
    pin: sha256(certificate.raw).toString("base64url"),
    async issue(names) {
      if (names.length === 0) {
        throw new BerthError("INVALID_ARGUMENT", "names: expected at least one name or address");
      }
      const leaf = await issueLeaf(pair, { names: [...new Set(names)], days: LEAF_DAYS });
      return { ...leaf, cert: `${leaf.cert.trimEnd()}\n${pair.certPem}` };
    },
  };
}

async function openCa(
  directory: string,
  makeCa: (name: string) => Promise<CaPair>,
): Promise<CaPair> {
  const certFile = path.join(directory, "ca.pem");
  const keyFile = path.join(directory, "ca.key");
  try {
    makeDirectory(directory);
    const certPem = await readIfThere(certFile);
    const keyPem = await readIfThere(keyFile);
    if (certPem !== undefined) return checkedPair({ certPem, keyPem }, { certFile, keyFile });
    const made = await makeCa(`Berth ${randomBytes(8).toString("hex")}`);
    // The certificate is written last: a key without one was never used by anybody.
    await writeDurably(keyFile, made.keyPem);
    await writeDurably(certFile, made.certPem);
    return made;
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("UNAVAILABLE", `the CA in ${directory} cannot be used: ${why}`, { cause });
  }
}

function checkedPair(
  { certPem, keyPem }: { readonly certPem: string; readonly keyPem: string | undefined },
  files: { readonly certFile: string; readonly keyFile: string },
): CaPair {
  const advice = "restore it, or remove both files to make a new CA (agents need new tokens then)";
  if (keyPem === undefined) {
    throw new BerthError("UNAVAILABLE", `${files.keyFile} is missing: ${advice}`);
  }
  const certificate = parsed(files.certFile, advice, () => new X509Certificate(certPem));
  const key = parsed(files.keyFile, advice, () => createPrivateKey(keyPem));
  if (!certificate.checkPrivateKey(key)) {
    throw new BerthError("UNAVAILABLE", `${files.keyFile} is not the key of ca.pem: ${advice}`);
  }
  if (certificate.validToDate.getTime() < Date.now()) {
    const message = `${files.certFile} has expired: remove it and ca.key to make a new CA (agents need new tokens then)`;
    throw new BerthError("UNAVAILABLE", message);
  }
  return { certPem, keyPem };
}

function parsed<T>(file: string, advice: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new BerthError("UNAVAILABLE", `${file} is damaged: ${advice}`, { cause });
  }
}
