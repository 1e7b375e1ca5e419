import {
  BerthError,
  type createHttpServer,
  isJsonObject,
  losslessBody,
  type Principal,
  toBerthError,
  typeName,
} from "@berth/service-kit";
import type { OperationRunner } from "../actions/operation-runner.ts";
import {
  type ActionFields,
  actionFields,
  operationRequest,
  type RequestChecks,
} from "../actions/requests.ts";
import type { ActionGovernor } from "./governed-action.ts";
import type { CallerFence } from "./link-calls.ts";
import { answerOperation, goneSignal, type Reply, readManners } from "./operation-answers.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What {@link addActionRoutes} serves from. */
export interface ActionRoutesOptions extends RequestChecks {
  readonly clusterId: string;
  readonly operations: OperationRunner;
  /** Lets pre-checks decide. */
  readonly governor: ActionGovernor;
  /** Store and term in whose name a request is made; undefined for a client of the port. */
  readonly fenceOf: (principal: Principal) => CallerFence | undefined;
  /** Asks where an instance of a block would go, and takes nothing. */
  readonly dryRun: (fields: ActionFields, signal: AbortSignal) => Promise<unknown>;
}

/** Where the controller's own routes answer: at the root and below `urlMap.controllerService`. */
const CONTROLLER_PREFIXES = ["", "/controller"];
/** Actions of the seed that come with a later version. */
const LATER_ACTIONS = [
  "init_create_status_update",
  "init_remove_status_update",
  "query_init_container_data",
  "failed_pods",
];

/**
 * `POST /executeAction`: `{"action": …}` with the action's fields beside it or within `data`. Answers when the operation
 * is over, at the latest after `timeout_ms` (60 s by default), or, with `wait: false`, as soon as it is accepted: then with
 * 202 and the operation, which goes on. An `idempotency_key` makes a repeated request the same operation.
 */
export function addActionRoutes(server: HttpServer, options: ActionRoutesOptions): void {
  for (const prefix of CONTROLLER_PREFIXES) {
    server.post(`${prefix}/executeAction`, async (request, reply) => {
      const gone = goneSignal(reply);
      try {
        const fence = options.fenceOf(request.principal);
        return await execute(losslessBody(request), options, { reply, gone, fence });
      } catch (thrown) {
        throw withData(thrown);
      }
    });
  }
}

async function execute(
  body: unknown,
  options: ActionRoutesOptions,
  {
    reply,
    gone,
    fence,
  }: {
    readonly reply: Reply;
    readonly gone: AbortSignal;
    readonly fence: CallerFence | undefined;
  },
): Promise<object> {
  if (!isJsonObject(body)) throw invalid(`the request: expected an object, got ${typeName(body)}`);
  const fields = actionFields(body);
  const { action } = fields;
  if (typeof action !== "string") {
    const got = action === undefined ? "nothing" : typeName(action);
    throw invalid(`action: expected a text, got ${got}`);
  }
  checkCluster(fields, options.clusterId);
  if (action === "dry_run") return { success: true, data: await options.dryRun(fields, gone) };
  if (LATER_ACTIONS.includes(action)) {
    throw new BerthError("UNIMPLEMENTED", `action ${action} comes with a later version of Berth`);
  }
  const checks = { runtime: options.runtime, fence };
  const asked = operationRequest(action, fields, checks);
  if (asked === undefined) throw invalid(`Unknown action: ${action.slice(0, 100)}`);
  const { wait, timeout_ms: timeoutMs, idempotency_key: key } = fields;
  const manners = readManners({ wait, timeoutMs, idempotencyKey: key });
  const { idempotencyKey } = manners;
  const { operations, governor } = options;
  const known = operations.known({ ...asked, idempotencyKey });
  // What was accepted once was allowed then.
  if (known !== undefined) {
    return answerOperation(known, manners, { operations, reply, gone, warnings: [] });
  }
  const { request, warnings } = await governor.govern(fields, asked, { checks, signal: gone });
  const isAsAsked = request === asked;
  const accepted = await operations.accept({
    ...request,
    ...(isAsAsked ? {} : { askedJson: asked.inputJson }),
    idempotencyKey,
  });
  return answerOperation(accepted, manners, { operations, reply, gone, warnings });
}

/** The existing deployment's clients read the text of a failure in `data`. */
function withData(thrown: unknown): BerthError {
  const error = toBerthError(thrown);
  const { reason, message, details } = error;
  const shown = reason === "INTERNAL" ? "internal error" : message;
  return new BerthError(reason, message, { cause: thrown, details: { ...details, data: shown } });
}

function checkCluster({ cluster_id: clusterId }: ActionFields, own: string): void {
  if (clusterId === undefined || clusterId === null || clusterId === own) return;
  throw invalid(`cluster_id: this is cluster ${JSON.stringify(own)}`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
