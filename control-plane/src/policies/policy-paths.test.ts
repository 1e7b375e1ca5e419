import { describe, expect, it } from "vitest";
import { pathProblem } from "./policy-paths.ts";

const DEEP = `code/${"d/".repeat(14)}x.py`;
const LONG = `code/${Array.from({ length: 4 }, () => "n".repeat(255)).join("/")}`;

describe("pathProblem", () => {
  it.each([
    "code/function.py",
    "code/a/b.py",
    "code/..x/...",
    "code/é ü.txt",
    `code/${"n".repeat(255)}`,
    DEEP,
    LONG.slice(0, 1_024),
  ])("takes %j", (path) => {
    expect(pathProblem(["code/function.py", "code/a/c.py", path])).toBeUndefined();
  });

  it.each<[string, string]>([
    ["../x.py", '"../x.py" is not a path below code/'],
    ["x.py", "is not a path below code/"],
    ["code", "is not a path below code/"],
    ["/code/x.py", "is not a path below code/"],
    ["Code/x.py", "is not a path below code/"],
    ["code\\x.py", "is not a path below code/"],
    ["code/a\\..\\..\\x.py", "is not a path below code/"],
    ["code/../tmp/leak.txt", '".." leaves its folder'],
    ["code/a/..", '".." leaves its folder'],
    ["code/a/", '"code/a/" has an empty name in it'],
    ["code/", "has an empty name in it"],
    ["code//x", "has an empty name in it"],
    ["code/./x", 'has "." as a name in it'],
    ["code/.", 'has "." as a name in it'],
    ["code/a\nb.py", '"code/a\\nb.py" has control characters in its name'],
    ["code/a\0b.py", "has control characters in its name"],
    ["code/a\u0085b.py", '"code/a\\u0085b.py" has control characters in its name'],
    ["code/\ud800.py", '"code/\\ud800.py" has a name that is not Unicode text'],
    [`code/${"n".repeat(256)}`, "has a name of more than 255 bytes"],
    [`code/${"é".repeat(128)}`, "has a name of more than 255 bytes"],
    [LONG, "is a path of more than 1024 bytes"],
    [DEEP.replace("x.py", "d/x.py"), "is nested more than 16 deep"],
    ["code/function.py/x.py", 'stands below "code/function.py", which is a file'],
  ])("refuses %j and says why", (path, message) => {
    const problem = pathProblem(["code/function.py", path]);
    expect(problem).toBeDefined();
    expect(`${problem?.path} ${problem?.why}`).toContain(message);
  });
});
