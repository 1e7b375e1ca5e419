import { describe, expect, it } from "vitest";
import { nearIds } from "./near-ids.ts";

describe("nearIds", () => {
  it.each<[string, readonly string[], readonly string[]]>([
    [
      "blk-chat",
      ["blk-chta", "blk-caht", "echo", "blk-chat-2"],
      ["blk-chta", "blk-caht", "blk-chat-2"],
    ],
    ["ehco", ["echo", "chat"], ["echo"]],
    ["cho", ["echo"], ["echo"]],
    ["blk-a", ["blk-d", "blk-cc", "blk-bb", "blk-aa"], ["blk-d", "blk-aa", "blk-cc"]],
    ["zzzzzz", ["echo"], []],
    ["", ["ab", "abc"], ["ab"]],
    ["x".repeat(512), ["x"], []],
  ])("names for %j of %j the nearest", (wanted, ids, near) => {
    expect(nearIds(wanted, ids)).toEqual(near);
  });
});
