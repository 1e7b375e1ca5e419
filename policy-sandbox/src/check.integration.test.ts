import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CheckOutcome, pythonPolicy, type Sandbox } from "./index.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./testing/sandbox-fixture.ts";

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

  test("relative imports that cannot be resolved are named as they are written", async () => {
    const code = pythonPolicy({
      "code/function.py": `from . import helper, other\nfrom .helper import x\nimport pkg.deep.mod\n${SOURCE}`,
      "code/helper.py": "from . import function\n",
      "code/pkg/__init__.py": "from .mod import y\nfrom . import gone\nz = 1\n",
      "code/pkg/mod.py": "from . import z, deep, lost\nfrom .missing import a\nfrom . import *\n",
      "code/pkg/deep/mod.py": "from ..mod import y\nfrom .. import mod, z\nfrom ... import top\n",
    });
    const outcome = await sandbox.check(code);
    expect(outcome.kind).toBe("ok");
    const named = (outcome as CheckOutcome & { kind: "ok" }).unresolvedImports.map(
      ({ file, line, module }) => `${file}:${line} ${module}`,
    );
    expect(named.sort()).toEqual([
      "code/function.py:1 .helper",
      "code/function.py:1 .other",
      "code/helper.py:1 .function",
      "code/pkg/__init__.py:2 .gone",
      "code/pkg/deep/mod.py:3 ...top",
      "code/pkg/mod.py:1 .lost",
      "code/pkg/mod.py:2 .missing",
    ]);
  });

  test("a relative import says when it runs what the check has said", async () => {
    const files = { "code/function.py": `from . import helper\n${SOURCE}`, "code/helper.py": "" };
    const outcome = await sandbox.evaluate({ ...requestFor(""), code: pythonPolicy(files) });
    expect(expectKind(outcome, "raised").error).toMatchObject({
      type: "ImportError",
      message: "attempted relative import with no known parent package",
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
    ["missing_eval", { "code/function.py": "class AgentSpaceV1PolicyRule:\n    pass\n" }],
    ["missing_entry", { "code/main.py": SOURCE }],
  ])("%s is a problem", async (code, files) => {
    expect(await sandbox.check(pythonPolicy(files))).toMatchObject({
      kind: "refused",
      problems: [{ code }],
    });
  });

  test("the class of workflow modules is as good", async () => {
    const source = "class AgentSpaceV1PolicyRule:\n    def eval(self, p, i, c=None): pass\n";
    const code = pythonPolicy({ "code/function.py": source });
    expect((await sandbox.check(code)).kind).toBe("ok");
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
