import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pythonPolicy, type Sandbox } from "./index.ts";
import { openSandbox, policyWithBody } from "./testing/sandbox-fixture.ts";

const SOURCE = policyWithBody("return 1");
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox();
  await sandbox.ready();
});
afterAll(() => sandbox.close());

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
