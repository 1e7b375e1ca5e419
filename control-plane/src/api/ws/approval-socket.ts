import {
  type BerthError,
  type HttpTraffic,
  type Logger,
  parseClientJson,
  toBerthError,
  toErrorBody,
} from "@berth/service-kit";
import { readApprovalAnswer } from "../../autoscaler/scaling/approvals.ts";
import type { ScaleBook } from "../../autoscaler/scaling/scale-book.ts";
import type { ScaleListeners } from "../../autoscaler/scaling/scale-listeners.ts";
import { type ScaleRequest, scaleRequestDocument } from "../../autoscaler/scaling/scale-request.ts";
import type { Scaling } from "../../autoscaler/scaling/scaling.ts";
import { Inbox } from "./inbox.ts";
import { type FrameTaker, sendFrame } from "./send-frame.ts";

/** What {@link serveApprovalSocket} works with. */
export interface ApprovalSocketDeps {
  readonly scale: Pick<ScaleBook, "open">;
  readonly scaling: Pick<Scaling, "decide">;
  readonly listeners: ScaleListeners;
  readonly logger: Logger;
}

/**
 * Tells a WebSocket which requests wait for a human: `{"type": "waiting", "request": …}` for each, at once and as they come, and
 * `{"type": "decided", "request": …}` when one waits no more. `{"uuid", "approve": true|false, "by"}` decides one, and is answered by
 * `{"success": true, "data": <request>}`. The socket stays open until its client leaves.
 */
export function serveApprovalSocket(
  taker: FrameTaker & { readonly traffic: HttpTraffic },
  { scale, scaling, listeners, logger }: ApprovalSocketDeps,
): void {
  const { socket, traffic } = taker;
  const send = (body: object) => sendFrame(taker, Buffer.from(JSON.stringify(body)));
  const tell = (type: "waiting" | "decided", request: ScaleRequest) =>
    void send({ type, request: scaleRequestDocument(request) });
  const told = new Set<string>();
  const waits = (request: ScaleRequest) => {
    if (told.has(request.uuid)) return;
    told.add(request.uuid);
    tell("waiting", request);
  };
  const decided = (request: ScaleRequest) => {
    if (told.delete(request.uuid)) tell("decided", request);
  };
  const end = listeners.listen({ onWaiting: waits, onPending: decided, onOver: decided });
  for (const request of scale.open()) if (request.state === "awaiting_approval") waits(request);
  const answer = async (text: string, refusal: BerthError | undefined) => {
    try {
      if (refusal !== undefined) throw refusal;
      const { uuid, isApproved, by } = readApprovalAnswer(
        parseClientJson(text),
        "a WebSocket client",
      );
      const request = await scaling.decide(uuid, isApproved, by);
      await send({ success: true, data: scaleRequestDocument(request) });
    } catch (thrown) {
      const isFault = toBerthError(thrown).reason === "INTERNAL";
      if (isFault) logger.error("an approval failed", { err: thrown });
      await send(toErrorBody(thrown));
    }
  };
  new Inbox(socket, traffic.requests, () => {
    return (message, refusal) => answer(message.toString("utf8"), refusal);
  });
  socket.on("close", () => {
    end();
    traffic.replies.forget(socket);
  });
}
