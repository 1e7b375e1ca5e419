import { AgentService, type CompleteRequest, type FetchPolicyRequest } from "@berth/proto";
import {
  type Authenticate,
  addressOf,
  authorizationOf,
  BerthError,
  type Principal,
  toBerthError,
  toConnectError,
} from "@berth/service-kit";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { AgentSession } from "../../fleet/agent-session.ts";
import type { ClusterAgents } from "../../fleet/cluster-agents.ts";
import type { CommandAnswer, OfferedOrder, Order } from "../../fleet/command-record.ts";
import type { Commands } from "../../fleet/commands.ts";
import type { FleetEvents } from "../../fleet/fleet-events.ts";
import type { FleetStores } from "../../fleet/fleet-stores.ts";
import type { RegisteringAgent } from "../../fleet/registration-judge.ts";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";
import { receivedBytesOf } from "./agent-caller.ts";
import { takeReports } from "./report-intake.ts";
import { takeState } from "./state-intake.ts";

/** Largest message of a stream of state or telemetry: a cluster document of 10,000 nodes fits. */
const MAX_AGENT_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Largest registration, which anybody may send: 256 former starts and the longest fields fit several times. */
const MAX_REGISTER_BYTES = 64 * 1024;
/** Largest message of a call that takes one: the longest result fits several times. */
const MAX_SINGLE_MESSAGE_BYTES = 4 * 1024 * 1024;

const MAX_RESULT_CHARACTERS = 1024 * 1024;
const MAX_REFUSAL_CHARACTERS = 4 * 1024;
const REASON = /^[A-Z][A-Z_]{0,63}$/;

/** What {@link agentRoutes} needs. */
export interface AgentServiceDeps {
  readonly agents: ClusterAgents;
  readonly stores: FleetStores;
  readonly commands: Commands;
  readonly events: FleetEvents;
  /** Published policies, which agents run, too. */
  readonly policies: Pick<PolicyRegistry, "runnable">;
  readonly authenticate: Authenticate;
}

/**
 * Serves berth.agent.v1.AgentService on a Connect router, whose adapter gives calls the context values of
 * {@link agentCaller}.
 */
export function agentRoutes(router: ConnectRouter, deps: AgentServiceDeps): void {
  const { agents, stores, commands, events } = deps;
  const principalOf = (context: HandlerContext): Principal => {
    return deps.authenticate({
      authorization: authorizationOf(context),
    });
  };
  const intake = (context: HandlerContext) => {
    const principal = principalOf(context);
    const receivedBytes = receivedBytesOf(context);
    return { agents: agents.sessions, events, principal, receivedBytes, signal: context.signal };
  };
  const { method } = AgentService;
  const single = { readMaxBytes: MAX_SINGLE_MESSAGE_BYTES };
  const stream = { readMaxBytes: MAX_AGENT_MESSAGE_BYTES };
  router.rpc(
    method.register,
    async (request, context) => {
      const caller = { principal: () => principalOf(context), address: addressOf(context) };
      requireKnown(caller, () => agents.keyUnknown(request.clusterId, caller.address));
      const registered = await agents.register(caller, request);
      const { session, reportIntervalMs, ttlMs, snapshotWanted, observeReason } = registered;
      return {
        sessionId: session.id,
        fence: { ...session.told, agentIncarnation: session.incarnation },
        ...{ reportIntervalMs, ttlMs, snapshotWanted, observeReason },
        adoptedStoreIds: [...stores.adoptedStoreIds],
      };
    },
    { readMaxBytes: MAX_REGISTER_BYTES },
  );
  router.rpc(method.report, (messages, context) => takeReports(intake(context), messages), stream);
  router.rpc(method.state, (messages, context) => takeState(intake(context), messages), stream);
  router.rpc(
    method.commands,
    ({ sessionId }, context) => {
      const session = agents.sessions.require(principalOf(context), sessionId);
      const closed = agents.sessions.opened(session, "commands");
      return giveCommands({ commands, session, closed, signal: context.signal });
    },
    single,
  );
  router.rpc(
    method.fetchPolicy,
    async (request, context) => fetchPolicy(deps.policies, principalOf(context).orgId, request),
    single,
  );
  router.rpc(
    method.complete,
    async (request, context) => {
      const session = agents.sessions.require(principalOf(context), request.sessionId);
      await commands.complete(session, request.commandId, answerOf(request));
      return {};
    },
    single,
  );
}

async function fetchPolicy(
  policies: AgentServiceDeps["policies"],
  orgId: string,
  { policyRuleUri, digest: wanted, knownDigest }: FetchPolicyRequest,
) {
  const { code, settingsJson, parametersJson } = await policies.runnable(orgId, policyRuleUri);
  const { digest } = code;
  if (wanted !== "" && wanted !== digest) {
    const message = `policy ${policyRuleUri} has the code ${digest}, not ${wanted.slice(0, 100)}`;
    throw new BerthError("NOT_FOUND", message);
  }
  const filesJson = knownDigest === digest ? "" : JSON.stringify(code.files);
  return { digest, filesJson, settingsJson, parametersJson };
}

/** Throws UNAUTHENTICATED when the caller's key is not known, which is told before. */
function requireKnown(caller: RegisteringAgent, onUnknown: () => void): void {
  try {
    caller.principal();
  } catch (thrown) {
    if (toBerthError(thrown).reason === "UNAUTHENTICATED") onUnknown();
    throw thrown;
  }
}

async function* giveCommands(given: {
  readonly commands: Commands;
  readonly session: AgentSession;
  readonly signal: AbortSignal;
  /** Counts the stream as closed. */
  readonly closed: () => void;
}) {
  const { commands, session, signal } = given;
  try {
    for await (const offer of commands.offers(session, signal)) {
      if (offer.kind === "term") yield { termId: offer.termId };
      else yield { command: toCommand(offer, session) };
    }
    session.signal.throwIfAborted();
  } catch (thrown) {
    // Interceptors do not see what a server stream throws after its first message.
    throw toConnectError(thrown);
  } finally {
    given.closed();
  }
}

function toCommand({ commandId, order, fence, timeoutMs }: OfferedOrder, session: AgentSession) {
  return {
    commandId,
    fence: { ...fence, agentIncarnation: session.incarnation },
    timeoutMs,
    order: toOrder(order),
  };
}

function toOrder(order: Order) {
  if (order.kind === "echo") {
    return { case: "echo" as const, value: { text: order.text, holdMs: order.holdMs } };
  }
  const { method, path, bodyJson } = order;
  return { case: "call" as const, value: { method, path, bodyJson } };
}

function answerOf({ outcome, ledgerRevision }: CompleteRequest): CommandAnswer {
  if (outcome.case === "resultJson") {
    if (outcome.value.length > MAX_RESULT_CHARACTERS || !isJson(outcome.value)) {
      const message = `result_json: expected JSON of at most ${MAX_RESULT_CHARACTERS} characters`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    const revision = String(ledgerRevision);
    return { kind: "completed", resultJson: outcome.value, ledgerRevision: revision };
  }
  if (outcome.case !== "refusal") {
    throw new BerthError("INVALID_ARGUMENT", "outcome: expected result_json or refusal");
  }
  const { reason, message } = outcome.value;
  if (!REASON.test(reason)) {
    throw new BerthError("INVALID_ARGUMENT", "refusal.reason: expected a reason such as CONFLICT");
  }
  return { kind: "refused", reason, message: message.slice(0, MAX_REFUSAL_CHARACTERS) };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
