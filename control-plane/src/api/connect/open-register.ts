import { AgentService } from "@berth/proto";
import { bearerSecret } from "@berth/service-kit";
import type { HandlerContext } from "@connectrpc/connect";

type Gate = (context: HandlerContext) => void;

/**
 * The gate of a port, but that Register may be called with any well-formed key: which cluster an unknown key claims
 * stands in the message. Its handler refuses the key then.
 */
export function openRegister(gate: Gate): Gate {
  const { typeName, method } = AgentService;
  return (context) => {
    const isRegister =
      context.service.typeName === typeName && context.method.name === method.register.name;
    const authorization = context.requestHeader.get("authorization") ?? undefined;
    if (isRegister && bearerSecret(authorization) !== undefined) return;
    gate(context);
  };
}
