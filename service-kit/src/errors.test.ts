import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import {
  BerthError,
  ERROR_TABLE,
  isBerthError,
  type Reason,
  toBerthError,
  toConnectError,
  toErrorBody,
} from "./errors.ts";

const reasons = Object.keys(ERROR_TABLE) as Reason[];

describe("the error table", () => {
  it.each(reasons)("answers %s alike on REST and Connect", (reason) => {
    const error = new BerthError(reason, "quota q-1 does not exist", { details: { id: "q-1" } });
    const message = reason === "INTERNAL" ? "internal error" : "quota q-1 does not exist";
    const details = reason === "INTERNAL" ? {} : { id: "q-1" };
    expect(toErrorBody(error)).toEqual({
      ...details,
      success: false,
      error: message,
      message,
      reason,
    });
    const connect = toConnectError(error);
    expect(connect.code).toBe(ERROR_TABLE[reason].code);
    expect(connect.rawMessage).toBe(message);
    expect(connect.metadata.get("berth-reason")).toBe(reason);
    expect(error.httpStatus).toBe(ERROR_TABLE[reason].http);
    expect(error.httpStatus).toBeGreaterThanOrEqual(400);
    expect(error.httpStatus).toBeLessThan(600);
  });

  it.each(reasons)("gives %s back on the other side of a Connect call", (reason) => {
    expect(toBerthError(toConnectError(new BerthError(reason, "x"))).reason).toBe(reason);
  });

  it("has a plain reason for every Connect code, of that same code", () => {
    const unknown = [Code.Unknown, Code.DataLoss, Code.Internal];
    for (const code of Object.values(Code).filter((value) => typeof value === "number")) {
      const { reason } = toBerthError(new ConnectError("x", code));
      const want = unknown.includes(code) ? Code.Internal : code;
      const plain = code === Code.OutOfRange ? Code.InvalidArgument : want;
      expect(ERROR_TABLE[reason].code).toBe(plain);
    }
  });
});

describe("toBerthError", () => {
  const plain: readonly [Code, Reason][] = [
    [Code.FailedPrecondition, "PRECONDITION_FAILED"],
    [Code.ResourceExhausted, "OVERLOADED"],
    [Code.PermissionDenied, "PERMISSION_DENIED"],
    [Code.InvalidArgument, "INVALID_ARGUMENT"],
    [Code.DeadlineExceeded, "DEADLINE_EXCEEDED"],
  ];
  it.each(plain)("reads code %s without a reason of ours as %s", (code, reason) => {
    expect(toBerthError(new ConnectError("x", code))).toMatchObject({ reason, message: "x" });
  });

  it.each(["NO_SUCH_REASON", "toString", "NOT_FOUND", ""])(
    "does not believe the reason %j when it is unknown or of another code",
    (sent) => {
      const metadata = new Headers({ "berth-reason": sent });
      const error = new ConnectError("x", Code.Unavailable, metadata);
      expect(toBerthError(error).reason).toBe("UNAVAILABLE");
    },
  );

  it.each([new Error("secret"), "secret", null, undefined, 0, { message: "secret" }])(
    "hides what %s says behind INTERNAL and keeps it as the cause",
    (thrown) => {
      const error = toBerthError(thrown);
      expect(error).toMatchObject({ reason: "INTERNAL", message: "internal error" });
      expect(error.cause).toBe(thrown);
      expect(JSON.stringify(toErrorBody(thrown))).not.toContain("secret");
      expect(toConnectError(thrown).rawMessage).toBe("internal error");
    },
  );

  it("hides the message of a downstream's internal error", () => {
    const downstream = new ConnectError("secret", Code.Internal);
    expect(toErrorBody(downstream).message).toBe("internal error");
    expect(toConnectError(downstream).message).not.toContain("secret");
  });
});

describe("toErrorBody", () => {
  it("does not let details hide the standard keys", () => {
    const details = { success: true, reason: "FINE", message: "fine", error: "fine", extra: 1 };
    const body = toErrorBody(new BerthError("NOT_FOUND", "gone", { details }));
    expect(body).toEqual({
      success: false,
      reason: "NOT_FOUND",
      message: "gone",
      error: "gone",
      extra: 1,
    });
  });
});

describe("isBerthError", () => {
  it("knows an error of another copy of the package by its name and reason", () => {
    const twin = Object.assign(new Error("x"), { name: "BerthError", reason: "CONFLICT" });
    expect(isBerthError(twin)).toBe(true);
  });

  it.each([
    Object.assign(new Error("x"), { name: "BerthError", reason: "MADE_UP" }),
    Object.assign(new Error("x"), { name: "BerthError" }),
    { name: "BerthError", reason: "CONFLICT" },
    new Error("x"),
    null,
  ])("does not take %s for one", (value) => {
    expect(isBerthError(value)).toBe(false);
  });
});
