import type { HttpTraffic } from "@berth/service-kit";
import { type AdhocSocketDeps, serveAdhocSocket } from "./adhoc-socket.ts";
import { type ApprovalSocketDeps, serveApprovalSocket } from "./approval-socket.ts";
import { readFlag, refuseQuery } from "./refuse-query.ts";
import type { FrameTaker } from "./send-frame.ts";

/**
 * Serves `/ws/autoscale` and the seed's port 6789: ad-hoc scaling, or with `?approvals=true` what waits for a human. A URL that does not
 * hold gets an error frame, and the socket is closed.
 */
export function serveAutoscaleSocket(
  taker: FrameTaker & { readonly traffic: HttpTraffic },
  query: URLSearchParams,
  deps: AdhocSocketDeps & ApprovalSocketDeps,
): void {
  try {
    const staysOpen = readFlag(query, "keep_open");
    if (readFlag(query, "approvals")) serveApprovalSocket(taker, deps);
    else serveAdhocSocket(taker, staysOpen, deps);
  } catch (thrown) {
    taker.socket.once("close", () => taker.traffic.replies.forget(taker.socket));
    refuseQuery(taker, thrown);
  }
}
