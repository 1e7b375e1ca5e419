import { createHash } from "node:crypto";

/** The source of one policy, as it was published. */
export interface PolicyCode {
  /** `digestFiles(files)`: what decides whether a loaded instance is still the same policy. */
  readonly digest: string;
  readonly language: "python";
  /** Path inside the archive ("code/function.py", "code/helpers.py") to UTF-8 text. */
  readonly files: Readonly<Record<string, string>>;
}

/** The file that defines `AIOSv1PolicyRule`, relative to the root of the archive. */
export const POLICY_ENTRY_FILE = "code/function.py";

/**
 * The sha256 (64 hex digits) of a set of source files. The files are sorted by path and every path and
 * text is preceded by its length, so that no two different sets hash the same bytes.
 */
export function digestFiles(files: Readonly<Record<string, string>>): string {
  const hash = createHash("sha256");
  const paths = Object.keys(files).sort();
  for (const path of paths) {
    hashPart(hash, path);
    hashPart(hash, files[path] ?? "");
  }
  return hash.digest("hex");
}

/** A `PolicyCode` made of its files. */
export function pythonPolicy(files: Readonly<Record<string, string>>): PolicyCode {
  return { digest: digestFiles(files), language: "python", files };
}

function hashPart(hash: ReturnType<typeof createHash>, text: string): void {
  const bytes = Buffer.from(text, "utf8");
  hash.update(`${bytes.byteLength}:`);
  hash.update(bytes);
}
