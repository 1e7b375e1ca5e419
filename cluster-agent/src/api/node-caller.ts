import { type Authenticate, addressOf, authorizationOf, BerthError } from "@berth/service-kit";
import type { HandlerContext } from "@connectrpc/connect";
import type { NodeSpeaker } from "../nodes/node-speaker.ts";

/**
 * The node that a call speaks for, by its key as it holds now. Throws UNAUTHENTICATED when the key is not
 * enrolled, or not any more.
 */
export function nodeSpeaker(authenticate: Authenticate, context: HandlerContext): NodeSpeaker {
  const { agent } = authenticate({ authorization: authorizationOf(context) });
  if (agent === undefined) {
    throw new BerthError("PERMISSION_DENIED", "authorization: expected the key of a node");
  }
  const address = addressOf(context);
  return address === undefined ? agent : { ...agent, address };
}
