import { expect, it } from "vitest";
import { BerthError } from "../errors.ts";
import { DamageFound, isDamage, openFailure, useFailure } from "./sqlite-failure.ts";

const sqlite = (errcode: number, message: string) =>
  Object.assign(new Error(message), { code: "ERR_SQLITE_ERROR", errcode });
const FILE = "/data/x.db";
const WAY_OUT = "; restore it from a backup, or move it away to begin anew";

it.each([
  ["in use", sqlite(5, "database is locked"), "another program has it open"],
  [
    "recovered by another one",
    sqlite(5 + 256, "database is locked"),
    "another program has it open",
  ],
  ["damaged", sqlite(11, "malformed"), `damaged: malformed${WAY_OUT}`],
  ["damaged in its indexes", sqlite(11 + 768, "malformed"), `damaged: malformed${WAY_OUT}`],
  ["found damaged by the check", new DamageFound("page 3"), `damaged: page 3${WAY_OUT}`],
  ["no database", sqlite(26, "file is not a database"), `file is not a database${WAY_OUT}`],
  ["on a full disk", sqlite(13, "database or disk is full"), "database or disk is full"],
  ["below a file", new Error("ENOTDIR: not a directory"), "ENOTDIR: not a directory"],
  ["anything", "text", "text"],
])("says of a database that is not opened as it is %s: %s -> %s", (_case, thrown, why) => {
  const failure = openFailure(FILE, thrown);
  expect(failure).toBeInstanceOf(BerthError);
  expect(failure).toMatchObject({
    reason: "UNAVAILABLE",
    message: `cannot open the database ${FILE}: ${why}`,
    cause: thrown,
  });
});

it.each([
  ["read", sqlite(10 + 256, "disk I/O error"), "cannot be read: disk I/O error"],
  [
    "written",
    sqlite(13, "database or disk is full"),
    "cannot be written: database or disk is full",
  ],
  ["read", sqlite(11, "malformed"), "is damaged: malformed"],
  ["written", sqlite(11 + 512, "malformed"), "is damaged: malformed"],
  ["read", sqlite(26, "file is not a database"), "is damaged: file is not a database"],
] as const)("says of a database that is %s: %s -> %s", (use, thrown, what) => {
  expect(useFailure(FILE, use, thrown)).toMatchObject({
    reason: "UNAVAILABLE",
    message: `the database ${FILE} ${what}`,
    cause: thrown,
  });
});

it.each([
  new Error("the store is closed"),
  new BerthError("CONFLICT", "no"),
  Object.assign(new Error("odd"), { errcode: "11" }),
  undefined,
])("gives back as it is what does not come from SQLite: %s", (thrown) => {
  expect(useFailure(FILE, "read", thrown)).toBe(thrown);
  expect(isDamage(thrown)).toBe(false);
});
