import { type Dirent, lstatSync, readdirSync, readFileSync, type Stats, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { CliError, errorCodeOf, messageOf } from "../cli-error.ts";

/** Most files in a policy folder. */
export const FILE_LIMIT = 1_000;
/** Most bytes of code in a policy folder. */
export const SIZE_LIMIT_BYTES = 16 * 1024 * 1024;
/** Most bytes of an archive: in base64 it must fit into a request body of 16 MiB. */
export const ARCHIVE_LIMIT_BYTES = 11 * 1024 * 1024;
const YAML_LIMIT_BYTES = 1024 * 1024;
const DEPTH_LIMIT = 32;
const ARCHIVES = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz"];
const ENTRY_FILE = "code/function.py";

/** A policy's files, each file's text by its path. */
export interface PolicyFolder {
  readonly kind: "folder";
  readonly files: Readonly<Record<string, string>>;
  /** Path (for messages) and text of the policy.yaml beside the code, when there is one. */
  readonly yaml?: { readonly path: string; readonly text: string };
}

/** What a path that is published holds: files, or a whole archive in base64. */
export type PolicySource = PolicyFolder | { readonly kind: "archive"; readonly archive: string };

/**
 * Reads a folder with `code/function.py` (and `policy.yaml` where there is one) or an archive. Throws
 * a CliError that names the file and what was expected.
 */
export function readPolicySource(path: string, cwd: string): PolicySource {
  const full = resolve(cwd, path);
  const stats = statOf(full, path);
  if (stats.isFile()) return { kind: "archive", archive: readArchive(full, path, stats) };
  if (!stats.isDirectory()) throw new CliError(`${path}: expected a folder or an archive`);
  const yaml = readYaml(full, path);
  return { kind: "folder", files: readCode(full, path), ...(yaml && { yaml }) };
}

function statOf(full: string, path: string): Stats {
  try {
    return statSync(full);
  } catch (cause) {
    if (errorCodeOf(cause) === "ENOENT") {
      throw new CliError(`${path}: no such folder or file`, { cause });
    }
    throw new CliError(`${path}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function readArchive(full: string, path: string, stats: Stats): string {
  if (!ARCHIVES.some((suffix) => full.toLowerCase().endsWith(suffix))) {
    throw new CliError(
      `${path}: expected a folder with ${ENTRY_FILE}, or an archive (${ARCHIVES.join(", ")})`,
    );
  }
  if (stats.size > ARCHIVE_LIMIT_BYTES) throw tooLarge(path, ARCHIVE_LIMIT_BYTES);
  return readFileSync(full).toString("base64");
}

function readYaml(full: string, path: string): PolicyFolder["yaml"] {
  const file = join(full, "policy.yaml");
  const stats = lstatSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  const name = join(path, "policy.yaml");
  if (!stats.isFile() || stats.size > YAML_LIMIT_BYTES) {
    throw new CliError(`${name}: expected a file of at most ${YAML_LIMIT_BYTES} bytes`);
  }
  return { path: name, text: readText(file, name) };
}

function readCode(full: string, path: string): Record<string, string> {
  const files: Record<string, string> = {};
  let count = 0;
  let bytes = 0;
  for (const name of codeFiles(full, path)) {
    count += 1;
    bytes += lstatSync(join(full, name)).size;
    if (count > FILE_LIMIT) throw new CliError(`${path}: more than ${FILE_LIMIT} files under code`);
    if (bytes > SIZE_LIMIT_BYTES) throw tooLarge(path, SIZE_LIMIT_BYTES);
    files[name] = readText(join(full, name), join(path, name));
  }
  if (Object.hasOwn(files, ENTRY_FILE)) return sortedByKey(files);
  throw new CliError(`${path}: expected ${ENTRY_FILE} in the folder`);
}

/** Names of the files under `code`, with forward slashes; hidden files and caches are left out. */
function* codeFiles(full: string, path: string, dir = "code"): Generator<string> {
  for (const entry of entriesOf(join(full, dir), path)) {
    if (isIgnored(entry)) continue;
    const name = `${dir}/${entry.name}`;
    if (entry.isFile()) {
      yield name;
    } else if (!entry.isDirectory()) {
      throw new CliError(`${join(path, name)}: expected a plain file (links are not published)`);
    } else if (name.split("/").length > DEPTH_LIMIT) {
      throw new CliError(`${join(path, name)}: nested too deep`);
    } else {
      yield* codeFiles(full, path, name);
    }
  }
}

function entriesOf(dir: string, path: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes(errorCodeOf(cause) ?? "")) {
      throw new CliError(`${path}: expected ${ENTRY_FILE} in the folder`, { cause });
    }
    throw new CliError(`${path}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function isIgnored(entry: Dirent): boolean {
  return entry.name.startsWith(".") || entry.name === "__pycache__";
}

function readText(file: string, name: string): string {
  const bytes = readFileSync(file);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CliError(`${name}: expected UTF-8 text: a policy holds no other files`, { cause });
  }
}

function sortedByKey(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function tooLarge(path: string, limitBytes: number): CliError {
  return new CliError(`${path}: larger than ${limitBytes / 1024 / 1024} MiB`);
}
