import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ArchiveEntry, tarOf, zipOf } from "../../policy-sandbox/src/testing/archives.ts";
import { answerOf, post } from "../support/client.ts";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { berth } from "../support/fleet.ts";

const SOURCE = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        return None
`;
const RECORD = { name: "bad", version: "1", release_tag: "t" };

let controlPlane: ControlPlaneProcess;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-bad-"));
  controlPlane = await startControlPlane();
});

afterAll(async () => {
  await controlPlane.stop();
  rmSync(directory, { recursive: true });
});

/** Publishes by REST, and makes sure that what was refused is not there. */
async function refusal(fields: object): Promise<string> {
  const reply = await post(controlPlane, "/policy", JSON.stringify({ ...RECORD, ...fields }));
  const answer = await answerOf(reply);
  expect(answer).toMatchObject({ success: false, reason: "INVALID_ARGUMENT" });
  expect(reply.status).toBe(400);
  expect((await fetch(`${controlPlane.restUrl}/policy/bad:1-t`)).status).toBe(404);
  return answer.message;
}

describe("a policy's files", () => {
  it.each<[string, string]>([
    ["code/../tmp/leak.txt", '".." leaves its folder'],
    ["../x.py", "is not a path below code/"],
    ["/code/x.py", "is not a path below code/"],
    ["code\\x.py", "is not a path below code/"],
    ["code/a/", "has an empty name in it"],
    ["code//x", "has an empty name in it"],
    ["code/./x", 'has "." as a name in it'],
    ["code/function.py/x", "which is a file"],
    ["code/\u001b[2Jx", "has control characters in its name"],
    [`code/${"x".repeat(256)}`, "has a name of more than 255 bytes"],
    [`code/${"d/".repeat(20)}x`, "is nested more than 16 deep"],
  ])("are refused under the path %j, with the field and the path", async (name, message) => {
    const told = await refusal({ files: { "code/function.py": SOURCE, [name]: "x" } });
    expect(told).toMatch(/^files: "/);
    expect(told).toContain(JSON.stringify(name.slice(0, 200)));
    expect(told).toContain(message);
  });

  it("are refused without code/function.py, and when there are too many", async () => {
    expect(await refusal({ files: { "code/x.py": SOURCE } })).toContain("code/function.py");
    const names = Array.from({ length: 10_000 }, (_, n) => [`code/f${n}.py`, ""]);
    expect(await refusal({ files: Object.fromEntries(names) })).toBe("files: more than 1000 files");
  });
});

const FUNCTION: ArchiveEntry = { name: "code/function.py", data: SOURCE };
const crowd = Array.from({ length: 10_000 }, (_, n) => ({ name: `code/f${n}.py`, data: "" }));

/** Name, suffix of the file, bytes, what the message tells. */
const ARCHIVES: readonly [string, string, Uint8Array, RegExp][] = [
  ["that is none", "tar.gz", Buffer.from("hello"), /archive: .*neither a tar/],
  ["that was cut off", "tar.gz", gzipSync(tarOf([FUNCTION])).subarray(0, 60), /archive: .*early/],
  ["without code/function.py", "tar", tarOf([{ name: "main.py" }]), /holds: main\.py/],
  [
    "with a path that climbs out",
    "tar",
    tarOf([FUNCTION, { name: "code/../../x" }]),
    /archive: .*\.\.\/\.\.\/x.* leaves/,
  ],
  ["with an absolute path", "tar", tarOf([FUNCTION, { name: "/etc/passwd" }]), /\/etc\/passwd/],
  [
    "with a link in a tar",
    "tar",
    tarOf([FUNCTION, { name: "code/l", type: "2", linkTo: "/etc/passwd" }]),
    /code\/l.*link/,
  ],
  [
    "with a link in a zip",
    "zip",
    zipOf([FUNCTION, { name: "code/l", type: "2", data: "/etc" }]),
    /code\/l.*link/,
  ],
  ["with a device", "tar", tarOf([FUNCTION, { name: "code/d", type: "3" }]), /code\/d.*device/],
  ["that is a bomb", "tar.gz", gzipSync(Buffer.alloc(200 << 20)), /archive: .*unpacks to more/],
  ["of 10,000 files", "zip", zipOf([FUNCTION, ...crowd]), /archive: .*1000/],
  [
    "with a file that is no text",
    "tar",
    tarOf([FUNCTION, { name: "code/b.bin", data: Buffer.of(0xff) }]),
    /code\/b\.bin/,
  ],
];
const BROKEN = tarOf([{ name: "code/function.py", data: `${SOURCE}\nif x\n` }]);

describe("an archive", () => {
  it.each([...ARCHIVES, ["with a syntax error", "tar", BROKEN, /code\/function\.py:7: /]] as const)(
    "%s is refused by REST and by the command, with what is wrong",
    {
      timeout: 60_000,
    },
    async (name, suffix, bytes, message) => {
      const archive = Buffer.from(bytes).toString("base64");
      expect(await refusal({ archive })).toMatch(message);

      const file = path.join(directory, `${name.replaceAll(/\W/g, "-")}.${suffix}`);
      writeFileSync(file, bytes);
      const flags = ["--name", "bad", "--version", "1", "--tag", "t"];
      const result = await berth(controlPlane, "policy", "publish", file, ...flags);
      expect(result).toMatchObject({ code: 1, stdout: "" });
      expect(result.stderr).toMatch(/^error: [^\n]+\n$/);
      expect(result.stderr).toMatch(message);
    },
  );

  it("whose code imports what is not there is taken in, with the names of it", async () => {
    const code = `import nosuchmodule\nfrom other.missing import x\n${SOURCE}`;
    const archive = tarOf([{ name: "code/function.py", data: code }]).toString("base64");
    const body = { ...RECORD, name: "imports", archive };
    const answer = await answerOf(post(controlPlane, "/policy", JSON.stringify(body)));
    expect(answer.success).toBe(true);
    expect(JSON.stringify(answer.data)).toMatch(/nosuchmodule/);
    expect(JSON.stringify(answer.data)).toMatch(/other/);
  });
});
