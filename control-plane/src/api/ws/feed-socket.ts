import { toErrorBody } from "@berth/service-kit";
import {
  type FeedRequest,
  type ReportFeed,
  readFeedRequest,
} from "../../org/report/report-feed.ts";
import { type FrameTaker, sendFrame } from "./send-frame.ts";

/** Code with which a socket is closed whose URL does not hold (RFC 6455 §7.4.1: policy violation). */
const CLOSE_BAD_QUERY = 1008;

/**
 * Sends the report on a socket until it closes, as the query of its URL asks for it. One that does not hold gets an error
 * frame, and the socket is closed; gives whether it holds.
 */
export function serveFeedSocket(
  taker: FrameTaker,
  query: URLSearchParams,
  feed: Pick<ReportFeed, "subscribe">,
): boolean {
  const { socket, traffic } = taker;
  socket.once("close", () => traffic.replies.forget(socket));
  let end: () => void;
  try {
    const request: FeedRequest = readFeedRequest(query);
    end = feed.subscribe(request, (frame) => sendFrame(taker, frame));
  } catch (thrown) {
    const body = toErrorBody(thrown);
    void sendFrame(taker, Buffer.from(JSON.stringify(body))).then(() =>
      socket.close(CLOSE_BAD_QUERY, body.message.slice(0, 100)),
    );
    return false;
  }
  socket.once("close", end);
  return true;
}
