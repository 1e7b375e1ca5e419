import { isDeepStrictEqual } from "node:util";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "./index.ts";
import {
  type ArchiveEntry,
  paxRecord,
  TAR_BZ2,
  TAR_XZ,
  TAR_XZ_SHA256,
  tarOf,
  zipOf,
} from "./testing/archives.ts";
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

  test("compressed members that stand one after the other are one archive", async () => {
    const tar = tarOf([FUNCTION, { name: "code/data.txt", data: "d".repeat(300_000) }]);
    const parts = [tar.subarray(0, 700), Buffer.alloc(0), tar.subarray(700)];
    const files = { "code/function.py": SOURCE, "code/data.txt": "d".repeat(300_000) };
    const members = parts.flatMap((part) => [gzipSync(part), Buffer.alloc(70_000)]);
    const outcome = await sandbox.unpack(Buffer.concat(members));
    expect(outcome.kind).toBe("unpacked");
    expect("files" in outcome && isDeepStrictEqual(outcome.files, files)).toBe(true);
    expect(await sandbox.unpack(Buffer.concat([TAR_BZ2, TAR_BZ2]))).toEqual({
      kind: "unpacked",
      files: small,
    });
  });

  test("names of other alphabets and of the longest allowed length are accepted", async () => {
    const long = `code/${"x".repeat(252)}.py`;
    const zip = await sandbox.unpack(zipOf([FUNCTION, { name: long, data: "y" }]));
    expect(zip).toEqual({ kind: "unpacked", files: { "code/function.py": SOURCE, [long]: "y" } });
    const foreign = "code/данные/日本.txt";
    const tar = await sandbox.unpack(tarOf([FUNCTION, { name: foreign, data: "y" }]));
    expect(tar).toEqual({
      kind: "unpacked",
      files: { "code/function.py": SOURCE, [foreign]: "y" },
    });
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
      { name: "./pack/policy.yaml", data: "name: a\n" },
    ];
    const files = {
      "code/function.py": SOURCE,
      "code/lib/util.py": "ü = 1\n",
      "code/requirements.txt": "requests\n",
      "policy.yaml": "name: a\n",
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
  const crowd = Array.from({ length: 10_000 }, (_, n) => ({ name: `code/f${n}.py`, data: "" }));
  test.each<[string, Uint8Array, string, RegExp]>([
    ["text", Buffer.from("hello"), "not_an_archive", /neither a tar/],
    ["nothing", Buffer.alloc(0), "not_an_archive", /neither a tar/],
    ["a cut gzip", gzipSync(tarOf([FUNCTION])).subarray(0, 60), "corrupt", /too early/],
    ["a cut xz", TAR_XZ.subarray(0, 100), "corrupt", /xz data ends too early/],
    [
      "a cut tar",
      tarOf([FUNCTION]).subarray(0, 700),
      "corrupt",
      /the archive is corrupt: unexpected end/,
    ],
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
    ["a zip of 10,000 files", zipOf([FUNCTION, ...crowd]), "too_many_files", /1000/],
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
    [
      "a file and a folder of one name, the file first,",
      tarOf([FUNCTION, { name: "code/a", data: "" }, { name: "code/a/b", data: "" }]),
      "unsafe_path",
      /code\/a is both a file and a folder/,
    ],
    [
      "a file and a folder of one name, the folder first,",
      zipOf([FUNCTION, { name: "code/a/b/c" }, { name: "code/a" }]),
      "unsafe_path",
      /code\/a is both a file and a folder/,
    ],
    [
      "a file and an empty folder of one name",
      tarOf([FUNCTION, { name: "code/a/", type: "5" }, { name: "code/a" }]),
      "unsafe_path",
      /code\/a is both a file and a folder/,
    ],
    [
      "a name of more than 255 bytes",
      zipOf([FUNCTION, { name: `code/${"x".repeat(256)}` }]),
      "unsafe_path",
      /name of more than 255 bytes/,
    ],
    [
      "a path of more than 1,024 bytes",
      zipOf([FUNCTION, { name: `code/${`${"d".repeat(250)}/`.repeat(4)}${"x".repeat(30)}` }]),
      "unsafe_path",
      /path of more than 1024 bytes/,
    ],
    [
      "a name with an escape sequence",
      tarOf([FUNCTION, { name: "code/\x1b[2Jx" }]),
      "unsafe_path",
      /^'code\/\\x1b\[2Jx' has control characters/,
    ],
    [
      "a name with a line break",
      zipOf([FUNCTION, { name: "code/a\nb.py" }]),
      "unsafe_path",
      /control characters/,
    ],
    [
      "an entry of a negative size",
      tarOf([FUNCTION, { name: "code/n", claimedSize: -1_536 }]),
      "corrupt",
      /an entry says that it has -1536 bytes/,
    ],
    [
      "a PAX header of a negative size",
      tarOf([FUNCTION, { name: "code/n", type: "x", claimedSize: -512 }]),
      "corrupt",
      /an entry says that it has -512 bytes/,
    ],
    [
      "a PAX record of a negative size",
      tarOf([{ name: "p", type: "x", data: paxRecord("size", "-5") }, FUNCTION]),
      "corrupt",
      /an entry says that it has -5 bytes/,
    ],
    ...(["0", "L", "x", "g"] as const).map((type): [string, Uint8Array, string, RegExp] => [
      `a tar entry of type ${type} and 3 GiB`,
      tarOf([FUNCTION, { name: "code/.DS_Store", type, claimedSize: 3 * 2 ** 30 }]),
      "corrupt",
      /the archive is corrupt: an entry says that it has 3221225472 bytes/,
    ]),
    [
      "an archive of 700,000 empty gzip members",
      Buffer.alloc(700_000 * 20, gzipSync("")),
      "too_large",
      /more than 1000 compressed members/,
    ],
    [
      "xz data with a SHA-256 check",
      TAR_XZ_SHA256,
      "corrupt",
      /xz data uses .* repack it with xz --check=crc64/,
    ],
    ["a large archive", Buffer.alloc((16 << 20) + 1), "too_large", /16777216/],
  ])("%s is refused", async (_name, archive, reason, message) => {
    const outcome = await sandbox.unpack(archive);
    expect(outcome).toMatchObject({ kind: "refused", reason });
    expect(outcome.kind === "refused" ? outcome.message : "").toMatch(message);
  });
});
