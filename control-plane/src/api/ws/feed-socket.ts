import {
  type FeedRequest,
  type ReportFeed,
  readFeedRequest,
} from "../../org/report/report-feed.ts";
import { refuseQuery } from "./refuse-query.ts";
import { type FrameTaker, sendFrame } from "./send-frame.ts";

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
    refuseQuery(taker, thrown);
    return false;
  }
  socket.once("close", end);
  return true;
}
