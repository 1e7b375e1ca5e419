import { lookup } from "node:dns/promises";
import { BlockList } from "node:net";
import {
  POLICY_ENTRY_FILE,
  type PolicyCode,
  pythonPolicy,
  type Sandbox,
} from "@berth/policy-sandbox";
import { BerthError, MAX_BODY_BYTES } from "@berth/service-kit";
import { pathProblem } from "./policy-paths.ts";
import type { PublishRequest } from "./policy-record.ts";

const FETCH_LIMIT_MS = 30_000;
const MAX_FILES = 1_000;
const MAX_PROBLEM_TEXT = 200;

/** Code that was read and checked. */
export interface CheckedCode {
  readonly code: PolicyCode;
  readonly unresolvedImports: readonly string[];
}

/**
 * Reads the code of a publish request and checks it without running it. Archives are unpacked inside
 * the sandbox. INVALID_ARGUMENT says what is wrong with the code, with file and line.
 */
export async function readPolicyCode(
  request: PublishRequest,
  sandbox: Sandbox,
): Promise<CheckedCode> {
  const code = pythonPolicy(await readFiles(request, sandbox));
  const checked = await sandbox.check(code, request.name);
  if (checked.kind === "unavailable") throw new BerthError("UNAVAILABLE", checked.message);
  if (checked.kind === "refused") {
    const problems = checked.problems.map(({ file, line, message, text }) => {
      const where = line === null ? file : `${file}:${line}`;
      const source = text === null ? "" : `: ${text.trim().slice(0, MAX_PROBLEM_TEXT)}`;
      return `${where}: ${message}${source}`;
    });
    throw new BerthError("INVALID_ARGUMENT", `the policy's code: ${problems.join("; ")}`, {
      details: { problems: checked.problems },
    });
  }
  const modules = new Set(checked.unresolvedImports.map(({ module }) => module));
  return { code, unresolvedImports: [...modules].sort() };
}

async function readFiles(
  request: PublishRequest,
  sandbox: Sandbox,
): Promise<Readonly<Record<string, string>>> {
  if (request.files !== undefined) return checkFiles(request.files);
  if (request.archive !== undefined)
    return codeOf(await unpackArchive(decodeBase64(request.archive), sandbox, request.name));
  const source = request.code ?? "";
  if (/^https?:\/\/\S+$/i.test(source))
    return codeOf(await unpackArchive(await fetchArchive(source), sandbox, request.name));
  if (!/^\s*(class|def|import|from|#|"|')/m.test(source)) {
    const message = "code: expected Python source text or an http(s) URL of an archive";
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return { [POLICY_ENTRY_FILE]: source };
}

function checkFiles(files: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const paths = Object.keys(files);
  if (paths.length > MAX_FILES) {
    throw new BerthError("INVALID_ARGUMENT", `files: more than ${MAX_FILES} files`);
  }
  const problem = pathProblem(paths);
  if (problem !== undefined) {
    throw new BerthError("INVALID_ARGUMENT", `files: ${problem.path} ${problem.why}`);
  }
  return files;
}

/** What is stored of an archive: the code, not the manifest beside it. */
function codeOf(files: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(files).filter(([path]) => path.startsWith("code/")));
}

/** Text files of a policy archive, unpacked in the sandbox; INVALID_ARGUMENT says what is wrong with it. */
export async function unpackArchive(
  archive: Uint8Array,
  sandbox: Sandbox,
  caller?: string,
): Promise<Readonly<Record<string, string>>> {
  const outcome = await sandbox.unpack(archive, caller);
  if (outcome.kind === "unpacked") return outcome.files;
  if (outcome.kind === "unavailable") throw new BerthError("UNAVAILABLE", outcome.message);
  throw new BerthError("INVALID_ARGUMENT", `archive: ${outcome.message}`, {
    details: { archive_problem: outcome.reason },
  });
}

/** Bytes of base64 text; INVALID_ARGUMENT when it is none. */
export function decodeBase64(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text)) {
    throw new BerthError("INVALID_ARGUMENT", "archive: expected base64");
  }
  return Buffer.from(text, "base64");
}

/** Link-local addresses, where clouds serve machine credentials; no archive is there. */
const NEVER_FETCHED = new BlockList();
NEVER_FETCHED.addSubnet("169.254.0.0", 16, "ipv4");
NEVER_FETCHED.addSubnet("fe80::", 10, "ipv6");

async function fetchArchive(url: string): Promise<Uint8Array> {
  try {
    const { hostname } = new URL(url);
    for (const { address, family } of await lookup(hostname.replace(/^\[|\]$/g, ""), {
      all: true,
    })) {
      if (NEVER_FETCHED.check(address, family === 6 ? "ipv6" : "ipv4")) {
        throw new Error("its address is link-local");
      }
    }
    const signal = AbortSignal.timeout(FETCH_LIMIT_MS);
    const response = await fetch(url, { signal, redirect: "error" });
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength;
      if (size > MAX_BODY_BYTES) throw new Error(`it is larger than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `code: cannot fetch ${url}: ${why}`, { cause });
  }
}
