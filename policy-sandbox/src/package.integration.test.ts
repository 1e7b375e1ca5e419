import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pythonPolicy, type Sandbox } from "./index.ts";
import { type ArchiveEntry, TAR_BZ2, TAR_XZ, tarOf, zipOf } from "./testing/archives.ts";
import { openSandbox, policyWithBody } from "./testing/sandbox-fixture.ts";

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox();
  await sandbox.ready();
});
afterAll(() => sandbox.close());

const SOURCE = policyWithBody("return 1");
const FUNCTION: ArchiveEntry = { name: "code/function.py", data: SOURCE };

describe("unpack", () => {
  const small = { "code/function.py": "x=1\n" };
  test.each([
    ["a tar", tarOf([FUNCTION]), { "code/function.py": SOURCE }],
    ["a tar.gz", gzipSync(tarOf([FUNCTION])), { "code/function.py": SOURCE }],
    ["a tar.xz", TAR_XZ, small],
    ["a tar.bz2", TAR_BZ2, small],
    ["a zip", zipOf([FUNCTION]), { "code/function.py": SOURCE }],
  ])("%s is told by its content", async (_name, archive, files) => {
    expect(await sandbox.unpack(archive)).toEqual({ kind: "unpacked", files });
  });

  test("a root folder, ./ and siblings are accepted and clutter is left out", async () => {
    const entries: ArchiveEntry[] = [
      { name: "./pack/", type: "5" },
      { name: "./pack/code/function.py", data: SOURCE },
      { name: "./pack/code/lib/util.py", data: "ü = 1\n" },
      { name: "./pack/code/requirements.txt", data: "requests\n" },
      { name: "./pack/code/.ipynb_checkpoints/function-checkpoint.py", data: "old" },
      { name: "./pack/code/__pycache__/x.pyc", data: Buffer.of(0xff, 0) },
      { name: "./pack/code/.DS_Store", data: Buffer.of(0xff) },
      { name: "./__MACOSX/pack/code/._function.py", data: Buffer.of(0xff) },
      { name: "./pack/README.md", data: "outside code" },
    ];
    const files = {
      "code/function.py": SOURCE,
      "code/lib/util.py": "ü = 1\n",
      "code/requirements.txt": "requests\n",
    };
    expect(await sandbox.unpack(tarOf(entries))).toEqual({ kind: "unpacked", files });
    expect(
      await sandbox.unpack(zipOf(entries.filter((entry) => entry.type === undefined))),
    ).toEqual({
      kind: "unpacked",
      files,
    });
  });

  const many = Array.from({ length: 1_001 }, (_, n) => ({ name: `code/f${n}.py`, data: "" }));
  test.each<[string, Uint8Array, string, RegExp]>([
    ["text", Buffer.from("hello"), "not_an_archive", /neither a tar/],
    ["nothing", Buffer.alloc(0), "not_an_archive", /neither a tar/],
    ["a cut gzip", gzipSync(tarOf([FUNCTION])).subarray(0, 60), "corrupt", /too early/],
    ["a cut xz", TAR_XZ.subarray(0, 100), "corrupt", /xz data ends too early/],
    ["a cut tar", tarOf([FUNCTION]).subarray(0, 700), "corrupt", /cannot be read/],
    ["no function.py", tarOf([{ name: "main.py", data: "" }]), "missing_entry", /holds: main\.py/],
    [
      "a path that climbs out of a tar",
      tarOf([FUNCTION, { name: "code/../../x" }]),
      "unsafe_path",
      /leaves/,
    ],
    [
      "a path that climbs out of a zip",
      zipOf([FUNCTION, { name: "../x" }]),
      "unsafe_path",
      /leaves/,
    ],
    [
      "an absolute path",
      tarOf([FUNCTION, { name: "/etc/passwd" }]),
      "unsafe_path",
      /not a relative/,
    ],
    ["a drive", zipOf([FUNCTION, { name: "C:/x" }]), "unsafe_path", /not a relative/],
    ["a deep path", tarOf([FUNCTION, { name: `${"d/".repeat(20)}x` }]), "unsafe_path", /16 deep/],
    [
      "a link in a tar",
      tarOf([FUNCTION, { name: "code/l", type: "2", linkTo: "/etc/passwd" }]),
      "unsafe_entry",
      /link/,
    ],
    [
      "a link in a zip",
      zipOf([FUNCTION, { name: "code/l", type: "2", data: "/etc" }]),
      "unsafe_entry",
      /link/,
    ],
    ["a device", tarOf([FUNCTION, { name: "code/d", type: "3" }]), "unsafe_entry", /device/],
    ["too many files", tarOf([FUNCTION, ...many]), "too_many_files", /1000/],
    ["a name that stands twice", tarOf([FUNCTION, FUNCTION]), "unsafe_path", /twice/],
    [
      "a file that is not UTF-8",
      tarOf([FUNCTION, { name: "code/b.bin", data: Buffer.of(0xff) }]),
      "not_text",
      /code\/b\.bin/,
    ],
    ["a gzip bomb", gzipSync(Buffer.alloc(200 << 20)), "too_large", /unpacks to more/],
    [
      "a large file",
      gzipSync(tarOf([FUNCTION, { name: "code/x", data: Buffer.alloc(17 << 20, 65) }])),
      "too_large",
      /unpacks to more/,
    ],
    ["a large archive", Buffer.alloc((16 << 20) + 1), "too_large", /16777216/],
  ])("%s is refused", async (_name, archive, reason, message) => {
    const outcome = await sandbox.unpack(archive);
    expect(outcome).toMatchObject({ kind: "refused", reason });
    expect(outcome.kind === "refused" ? outcome.message : "").toMatch(message);
  });
});

describe("check", () => {
  test("a policy whose imports resolve is fine", async () => {
    const code = pythonPolicy({
      "code/function.py": `import json, requests\nfrom helpers import x\nfrom pkg.mod import y\n${SOURCE}`,
      "code/helpers.py": "x = 1\n",
      "code/pkg/mod.py": "y = 1\n",
    });
    expect(await sandbox.check(code)).toEqual({ kind: "ok", unresolvedImports: [] });
  });

  test("imports that cannot be resolved are named, as a warning", async () => {
    const source = `import json\ntry:\n    import redis\nexcept ImportError:\n    redis = None\nfrom numpy.linalg import norm\n${SOURCE}`;
    expect(await sandbox.check(pythonPolicy({ "code/function.py": source }))).toEqual({
      kind: "ok",
      unresolvedImports: [
        { module: "redis", file: "code/function.py", line: 3 },
        { module: "numpy.linalg", file: "code/function.py", line: 6 },
      ],
    });
  });

  test("a syntax error tells file, line, column and text", async () => {
    const code = pythonPolicy({
      "code/function.py": SOURCE,
      "code/helpers.py": "def f():\n    return )\n",
    });
    expect(await sandbox.check(code)).toMatchObject({
      kind: "refused",
      problems: [
        {
          code: "syntax_error",
          file: "code/helpers.py",
          line: 2,
          column: 12,
          text: "    return )",
        },
      ],
    });
  });

  test.each([
    ["missing_class", { "code/function.py": "class Other:\n    pass\n" }],
    ["missing_eval", { "code/function.py": "class AIOSv1PolicyRule:\n    def evil(self): pass\n" }],
    ["missing_entry", { "code/main.py": SOURCE }],
  ])("%s is a problem", async (code, files) => {
    expect(await sandbox.check(pythonPolicy(files))).toMatchObject({
      kind: "refused",
      problems: [{ code }],
    });
  });

  test("checking does not run the code", async () => {
    const code = pythonPolicy({ "code/function.py": `while True: pass\n${SOURCE}` });
    expect((await sandbox.check(code)).kind).toBe("ok");
  });

  test("code that breaks parsers is refused", async () => {
    const code = pythonPolicy({
      "code/function.py": `x = ${"(".repeat(5_000)}${")".repeat(5_000)}\n`,
    });
    expect(await sandbox.check(code)).toMatchObject({ kind: "refused" });
  });
});
