import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { linkFailure } from "./link-failure.ts";

const refusal = (code: status) => Object.assign(new Error("x"), { code, details: "no" });

it.each(["UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "ALREADY_EXISTS"] as const)(
  "takes %s for a refusal that a person has to mend, with a hint",
  (name) => {
    const failure = linkFailure(refusal(status[name]));
    expect(failure).toMatchObject({ code: name, message: "no", refused: true });
    expect(failure.hint).not.toBe("");
  },
);

it.each(["UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL"] as const)(
  "takes %s for something that passes",
  (name) => {
    expect(linkFailure(refusal(status[name]))).toMatchObject({ code: name, refused: false });
  },
);

it("makes something of anything that can be thrown", () => {
  for (const thrown of [undefined, null, 7, "text", {}, { code: "E" }, new Error("e")]) {
    expect(linkFailure(thrown)).toMatchObject({ code: "INTERNAL", refused: false });
  }
  expect(linkFailure({ code: 999 }).code).toBe("UNKNOWN");
  expect(linkFailure(new Error("x".repeat(9_999))).message).toHaveLength(300);
});
