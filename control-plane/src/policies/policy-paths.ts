/** Entry points of policies are below this folder, and so is everything that they import. */
const ROOT = "code";
/** Folders and the file together; what archives may nest, too. */
const MAX_DEPTH = 16;
const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 1_024;
const MAX_SHOWN_CHARACTERS = 200;
const CONTROL = /\p{Cc}/u;

/** A path that no policy can have. */
export interface PathProblem {
  /** The path, shortened, and with its control characters escaped. */
  readonly path: string;
  /** For people: "has an empty name in it". */
  readonly why: string;
}

/**
 * The first path at which the files of a policy cannot be stored: paths begin with `code/`, and have the names
 * that archives of policies may have. What the unpacking of an archive tidies up ("code//x", "code/./x") is
 * refused here: a client that names files one by one gets them under the names that it gave.
 */
export function pathProblem(paths: readonly string[]): PathProblem | undefined {
  const files = new Set(paths);
  const checks = [problemOf, (path: string) => folderProblem(path, files)];
  for (const check of checks) {
    for (const path of paths) {
      const why = check(path);
      if (why !== undefined) return { path: shown(path), why };
    }
  }
  return undefined;
}

function problemOf(path: string): string | undefined {
  if (CONTROL.test(path)) return "has control characters in its name";
  if (!path.isWellFormed()) return "has a name that is not Unicode text";
  const names = path.split("/");
  if (names[0] !== ROOT || names.length < 2 || path.includes("\\")) {
    return `is not a path below ${ROOT}/`;
  }
  if (names.includes("..")) return `is not a path below ${ROOT}/: ".." leaves its folder`;
  if (names.includes("")) return "has an empty name in it";
  if (names.includes(".")) return 'has "." as a name in it';
  if (names.length > MAX_DEPTH) return `is nested more than ${MAX_DEPTH} deep`;
  if (names.some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES)) {
    return `has a name of more than ${MAX_NAME_BYTES} bytes`;
  }
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    return `is a path of more than ${MAX_PATH_BYTES} bytes`;
  }
  return undefined;
}

function folderProblem(path: string, files: ReadonlySet<string>): string | undefined {
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
    const folder = path.slice(0, end);
    if (files.has(folder)) return `stands below ${shown(folder)}, which is a file`;
  }
  return undefined;
}

function shown(path: string): string {
  const text = JSON.stringify(path.slice(0, MAX_SHOWN_CHARACTERS));
  return text.replaceAll(/\p{Cc}/gu, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}
