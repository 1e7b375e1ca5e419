import { BerthError } from "@berth/service-kit/base";
import { status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { EnrolmentError } from "./join.ts";
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

it.each(["UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "ALREADY_EXISTS"] as const)(
  "tells apart %s of the enrolment",
  (name) => {
    const failure = linkFailure(new EnrolmentError(refusal(status[name])));
    expect(failure).toMatchObject({ code: name, message: "enrolment: no", refused: true });
    expect(failure.hint).not.toBe(linkFailure(refusal(status[name])).hint);
  },
);

it("takes a CA that cannot be trusted for something a person has to mend", () => {
  const failure = linkFailure(new BerthError("PRECONDITION_FAILED", "the CA is not known"));
  expect(failure).toMatchObject({ message: "the CA is not known", refused: true });
  expect(failure.hint).toContain("BERTH_CA_FILE");
  expect(linkFailure(new BerthError("UNAVAILABLE", "not reached")).refused).toBe(false);
});

it("reads a message that the server has escaped, and one that only looks so", () => {
  const said = (details: string) =>
    linkFailure(Object.assign(new Error("x"), { code: 6, details }));
  expect(said("node_id%3A two agents (GET %2Fnodes)")).toMatchObject({
    field: "node_id",
    message: "node_id: two agents (GET /nodes)",
  });
  expect(said("100% of it").message).toBe("100% of it");
});

it("names the field that the server complains of", () => {
  const named = Object.assign(new Error("x"), { code: 14, details: "node_id: wait" });
  expect(linkFailure(named).field).toBe("node_id");
  expect(linkFailure(refusal(status.UNAVAILABLE)).field).toBe("");
});

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
  expect(linkFailure(new Error("x".repeat(9_999))).message).toHaveLength(400);
});
