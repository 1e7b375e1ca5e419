// The X.509 library resolves its parts by type metadata and needs this polyfill before it.
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const EC = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
const CA_DAYS = 3_650;
/** A certificate begins before it is made, so that a clock that is a little behind takes it. */
const BACKDATE_MS = 3_600_000;

type KeyPair = webcrypto.CryptoKeyPair;

/** Makes a CA: EC P-256, self-signed, 10 years; both as PEM. Loads the X.509 library. */
export async function makeCa(name: string): Promise<{ certPem: string; keyPem: string }> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerial(),
      name: `CN=${name}`,
      ...validity(CA_DAYS),
      keys,
      signingAlgorithm: SIGNING,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certPem: `${certificate.toString("pem")}\n`, keyPem: await privatePem(keys) };
}

/** Makes a key and a certificate of a server, signed by a CA, valid for so many days. */
export async function issueLeaf(
  ca: { readonly certPem: string; readonly keyPem: string },
  { names, days }: { readonly names: readonly string[]; readonly days: number },
): Promise<{ key: string; cert: string; notAfter: Date }> {
  const issuer = new X509Certificate(ca.certPem);
  const pkcs8 = PemConverter.decodeFirst(ca.keyPem);
  const signingKey = await webcrypto.subtle.importKey("pkcs8", pkcs8, EC, false, ["sign"]);
  const keys = await newKeys();
  const dates = validity(days);
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    new SubjectAlternativeNameExtension(
      names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }) as const),
    ),
    await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
    await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
  ];
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: newSerial(),
      subject: "CN=Berth server",
      issuer: issuer.subject,
      ...dates,
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: SIGNING,
      extensions,
    },
    webcrypto,
  );
  const cert = `${certificate.toString("pem")}\n`;
  return { key: await privatePem(keys), cert, notAfter: dates.notAfter };
}

function newKeys(): Promise<KeyPair> {
  return webcrypto.subtle.generateKey(EC, true, ["sign", "verify"]);
}

/** 16 random bytes, positive and without a leading zero (RFC 5280, 4.1.2.2). */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + days * DAY_MS) };
}

async function privatePem(keys: KeyPair): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return `${PemConverter.encode(pkcs8, "PRIVATE KEY")}\n`;
}
