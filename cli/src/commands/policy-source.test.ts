import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ARCHIVE_LIMIT_BYTES, FILE_LIMIT, readPolicySource } from "./policy-source.ts";

describe("readPolicySource", () => {
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "berth-policy-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  function write(path: string, content: string | Buffer = "x = 1\n"): void {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }

  it("sends the text files under code and the policy.yaml beside it, nothing else", () => {
    for (const path of ["code/function.py", "code/lib/b.py", "code/a.txt", "README.md"])
      write(path);
    for (const path of ["code/.git/config", "code/.env", "code/__pycache__/a.pyc"]) write(path);
    write("policy.yaml", "name: a\n");
    expect(readPolicySource(".", dir)).toEqual({
      kind: "folder",
      yaml: { path: "policy.yaml", text: "name: a\n" },
      files: { "code/a.txt": "x = 1\n", "code/function.py": "x = 1\n", "code/lib/b.py": "x = 1\n" },
    });
  });

  it("sends an archive as it is", () => {
    write("p.tar.gz", Buffer.from([0x1f, 0x8b, 0xff]));
    expect(readPolicySource("p.tar.gz", dir)).toEqual({ kind: "archive", archive: "H4v/" });
  });

  it("refuses an archive that no request could hold", () => {
    write("p.zip", "");
    truncateSync(join(dir, "p.zip"), ARCHIVE_LIMIT_BYTES + 1);
    expect(() => readPolicySource("p.zip", dir)).toThrow("p.zip: larger than 11 MiB");
  });

  it("refuses what is not there, and files that are no archive", () => {
    write("p.py");
    expect(() => readPolicySource("none", dir)).toThrow("none: no such folder or file");
    expect(() => readPolicySource("p.py", dir)).toThrow(
      "p.py: expected a folder with code/function.py, or an archive (.zip, .tar, .tar.gz, .tgz, .tar.xz)",
    );
  });

  it("refuses a folder without code/function.py", () => {
    expect(() => readPolicySource(".", dir)).toThrow(".: expected code/function.py in the folder");
    write("code/main.py");
    expect(() => readPolicySource(".", dir)).toThrow(".: expected code/function.py in the folder");
    write("flat/code");
    expect(() => readPolicySource("flat", dir)).toThrow("flat: expected code/function.py");
  });

  it("refuses links and files that are no text, naming them", () => {
    write("code/function.py");
    symlinkSync("/etc/hostname", join(dir, "code/host"));
    expect(() => readPolicySource(".", dir)).toThrow("code/host: expected a plain file");
    rmSync(join(dir, "code/host"));
    write("code/model.bin", Buffer.from([0xff, 0xfe]));
    expect(() => readPolicySource(".", dir)).toThrow("code/model.bin: expected UTF-8 text");
  });

  it("refuses too many files, too many bytes, and too deep a folder", () => {
    write("code/function.py");
    for (let i = 0; i < FILE_LIMIT; i += 1) write(`code/f/${i}.py`, "");
    expect(() => readPolicySource(".", dir)).toThrow(".: more than 1000 files under code");
    rmSync(join(dir, "code/f"), { recursive: true });
    write("code/big.txt", Buffer.alloc(16 * 1024 * 1024, 0x20));
    expect(() => readPolicySource(".", dir)).toThrow(".: larger than 16 MiB");
    rmSync(join(dir, "code/big.txt"));
    write(`code/${"d/".repeat(40)}x.py`);
    expect(() => readPolicySource(".", dir)).toThrow("nested too deep");
  });
});
