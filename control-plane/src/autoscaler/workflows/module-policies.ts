import {
  POLICY_ENTRY_FILE,
  type PolicyRunDeps,
  pythonPolicy,
  type RunnablePolicy,
  runPolicy,
} from "@berth/policy-sandbox";
import { type BerthError, toBerthError } from "@berth/service-kit";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";
import type { ModuleCall, ModuleOutcome, RunModule } from "./module-attempts.ts";

/** What {@link modulePolicies} needs. */
export interface ModulePoliciesDeps extends PolicyRunDeps {
  readonly orgId: string;
  readonly policies: Pick<PolicyRegistry, "runnable">;
}

/**
 * Runs modules in the sandbox as policies of the kind "workflow". A published one keeps its context as everywhere;
 * inline code has none: it begins with `{}` each time.
 */
export function modulePolicies(deps: ModulePoliciesDeps): RunModule {
  return async (call) => {
    try {
      return await runCall(call, await policyOf(call, deps), deps);
    } catch (thrown) {
      return failed(toBerthError(thrown));
    }
  };
}

type Contexts = PolicyRunDeps["contexts"];

async function runCall(
  call: ModuleCall,
  policy: RunnablePolicy,
  deps: ModulePoliciesDeps,
): Promise<ModuleOutcome> {
  const { parameters, settings, inputJson, clients, signal, timeoutMs } = call;
  const wallMs = Math.min(deps.caps.wallMs, timeoutMs);
  const outcome = await runPolicy(
    {
      ...{ orgId: deps.orgId, policy, kind: "workflow", inputJson, clients, signal },
      ...{ parameters, settings, fieldPrefix: `modules.${call.module}.` },
    },
    { ...deps, caps: { ...deps.caps, wallMs }, contexts: contextsOf(call, deps.contexts) },
  );
  if (outcome.kind === "returned") return { kind: "returned", resultJson: outcome.resultJson };
  return failed(outcome.error);
}

function contextsOf({ trial }: ModuleCall, live: Contexts): Contexts {
  if (trial === undefined) return live;
  const { kept, isFresh } = trial;
  return {
    get: async (orgId, uri) => kept.get(uri) ?? (isFresh ? "{}" : live.get(orgId, uri)),
    set: (_orgId, uri, json) => {
      kept.set(uri, json);
    },
  };
}

async function policyOf(call: ModuleCall, deps: ModulePoliciesDeps): Promise<RunnablePolicy> {
  const { code, workflowId, module } = call;
  if (code.kind === "policy") return deps.policies.runnable(deps.orgId, code.uri);
  // No published policy has a name with a slash, so none shares an interpreter with this one; and each module has its own, or those that
  // are independent would wait for each other: one policy never gets all of a machine.
  const name = `workflow/${workflowId}/${module}`;
  return {
    ...{ name, uri: name, settingsJson: "{}", parametersJson: "{}" },
    code: pythonPolicy({ [POLICY_ENTRY_FILE]: code.python }),
    isPublished: () => false,
  };
}

function failed(error: BerthError): ModuleOutcome {
  return { kind: "failed", error, canPass: canPass(error) };
}

/** What a module raises may pass, as when what it asked was away; a result that is none, or a crash, comes again. */
function canPass({ reason, details }: BerthError): boolean {
  if (reason === "POLICY_FAILED") return details.policy_error !== undefined;
  return PASSING.has(reason);
}

const PASSING: ReadonlySet<string> = new Set([
  ...["POLICY_TIMEOUT", "OVERLOADED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CONFLICT"],
]);
