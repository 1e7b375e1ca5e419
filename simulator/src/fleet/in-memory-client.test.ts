import {
  EnrolmentService,
  NodeRegisterRequestSchema,
  type NodeReportRequest,
  NodeReportRequestSchema,
  NodeService,
} from "@berth/proto";
import { authorizationOf, BerthError, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { Code, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { inMemoryClient } from "./in-memory-client.ts";
import { nodeDoor } from "./node-door.ts";

const own = { authorization: "Bearer own", enrolmentAuthorization: "Bearer token" };
const request = create(NodeRegisterRequestSchema, { nodeId: "n" });
const { signal } = new AbortController();
const report = (streamSeq: bigint) => create(NodeReportRequestSchema, { streamSeq });

let cut: AbortController;
let registered = 0;
/** What the cluster-agent of a test does with a call. */
let answerRegister: (context: HandlerContext) => Promise<{ nodeId: string }>;
let answerReport: (
  reports: AsyncIterable<NodeReportRequest>,
  context: HandlerContext,
) => Promise<{ reason: string }>;

function routes(router: ConnectRouter): void {
  router.service(NodeService, {
    register: (_request, context) => answerRegister(context),
    report: (reports, context) => answerReport(reports, context),
  });
  router.service(EnrolmentService, {
    enrol: async ({ subjectId }, context) => {
      expect(authorizationOf(context)).toBe("Bearer token");
      return { subjectId };
    },
  });
}

function client() {
  const onRegistered = () => {
    registered += 1;
  };
  const options = { own, cut: cut.signal, onRegistered, logger: silentLogger };
  return inMemoryClient(nodeDoor(routes), options);
}

beforeEach(() => {
  cut = new AbortController();
  registered = 0;
  answerRegister = async () => ({ nodeId: "n" });
  answerReport = async (reports) => {
    let count = 0;
    for await (const _report of reports) count += 1;
    return { reason: `read ${count}` };
  };
});

describe("calls", () => {
  it("shows the own key to register and the token to enrol", async () => {
    answerRegister = async (context) => ({ nodeId: authorizationOf(context) ?? "" });
    const response = await client().register(request, { timeoutMs: 1_000, signal });
    expect(response).toMatchObject({ nodeId: "Bearer own" });
    expect(registered).toBe(1);
    const enrolment = { subjectId: "n", identity: "", keySha256: new Uint8Array() };
    const enrolled = await client().enrol?.(
      { $typeName: "berth.enrolment.v1.EnrolRequest", ...enrolment },
      { timeoutMs: 1_000, signal },
    );
    expect(enrolled?.subjectId).toBe("n");
  });

  it("fails with the number of the status that the handler's error has on the wire", async () => {
    answerRegister = async () => {
      throw new BerthError("UNAUTHENTICATED", "no such key");
    };
    const call = client().register(request, { timeoutMs: 1_000, signal });
    await expect(call).rejects.toMatchObject({
      code: Code.Unauthenticated,
      message: "no such key",
    });
    expect(registered).toBe(0);
  });

  it("ends calls that are not answered: by their time, by the cut, and by the close", async () => {
    answerRegister = () => new Promise(() => undefined);
    const late = client().register(request, { timeoutMs: 5, signal });
    await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    const closed = client();
    const waiting = closed.register(request, { timeoutMs: 5_000, signal });
    closed.close();
    await expect(waiting).rejects.toMatchObject({ code: Code.Unavailable });
    const severed = client().register(request, { timeoutMs: 5_000, signal });
    cut.abort();
    await expect(severed).rejects.toMatchObject({ code: Code.Unavailable });
    const after = client().register(request, { timeoutMs: 5_000, signal });
    await expect(after).rejects.toMatchObject({ code: Code.Unavailable });
  });
});

describe("report", () => {
  it("hands messages over one by one, each `sent` when the next one is asked for", async () => {
    const read: bigint[] = [];
    const more = Promise.withResolvers<void>();
    answerReport = async (reports) => {
      for await (const { streamSeq } of reports) {
        read.push(streamSeq);
        if (streamSeq === 1n) await more.promise;
        if (streamSeq === 2n) return { reason: "enough" };
      }
      return { reason: "end" };
    };
    const call = client().report();
    const sent: number[] = [];
    call.write(report(1n), () => {
      sent.push(1);
      call.write(report(2n), () => sent.push(2));
    });
    await vi.waitFor(() => expect(read).toEqual([1n]));
    expect(sent).toEqual([]);
    more.resolve();
    expect((await call.ended).reason).toBe("enough");
    expect([read, sent]).toEqual([[1n, 2n], [1]]);
  });

  it("ends for both sides when it is cancelled, cut or closed, and takes no more", async () => {
    const ways = [
      (one: ReturnType<typeof client>) => one.close(),
      () => cut.abort(),
      (_one: unknown, call: { cancel(): void }) => call.cancel(),
    ];
    for (const way of ways) {
      cut = new AbortController();
      let wasAborted = false;
      answerReport = async (reports, context) => {
        for await (const _report of reports);
        wasAborted = context.signal.aborted;
        throw new BerthError("CANCELED", "the stream was cut");
      };
      const one = client();
      const call = one.report();
      way(one, call);
      await expect(call.ended).rejects.toMatchObject({ code: Code.Unavailable });
      expect(wasAborted).toBe(true);
      call.write(report(1n), () => expect.unreachable("nobody reads any more"));
    }
  });
});

it("says which service routes lack", () => {
  expect(() => nodeDoor(() => undefined)).toThrow("no routes of berth.node.v1.NodeService");
});
