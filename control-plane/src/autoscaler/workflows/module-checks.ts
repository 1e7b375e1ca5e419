import { POLICY_ENTRY_FILE, pythonPolicy, type Sandbox } from "@berth/policy-sandbox";
import { BerthError, isBerthError } from "@berth/service-kit";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";
import type { Workflow } from "./workflow.ts";
import type { ModuleCode } from "./workflow-module.ts";

/** What {@link moduleChecks} looks with. */
export interface ModuleChecksDeps {
  readonly orgId: string;
  readonly policies: Pick<PolicyRegistry, "runnable">;
  readonly sandbox: Pick<Sandbox, "check">;
}

/** Looks at the code of a workflow's modules; runs none of it. */
export interface ModuleChecks {
  /** INVALID_ARGUMENT names the module: no such policy, or code that cannot be one. */
  readonly check: (workflow: Workflow) => Promise<void>;
  /** The first module whose published policy is not there (any more), and that; undefined when all are. */
  readonly missing: (workflow: Workflow) => Promise<string | undefined>;
}

/** Looks whether published policies are there, and whether code in place is a policy. */
export function moduleChecks(deps: ModuleChecksDeps): ModuleChecks {
  const first = async (
    { modules }: Workflow,
    look: (code: ModuleCode) => Promise<string | undefined>,
  ): Promise<string | undefined> => {
    for (const [key, { code }] of modules) {
      const problem = await look(code);
      if (problem !== undefined) return `modules.${key}.${problem}`;
    }
    return undefined;
  };
  return {
    check: async (workflow) => {
      const problem = await first(workflow, (code) => problemOf(code, deps));
      if (problem !== undefined) throw new BerthError("INVALID_ARGUMENT", problem);
    },
    missing: (workflow) => first(workflow, (code) => missingPolicy(code, deps)),
  };
}

async function missingPolicy(
  code: ModuleCode,
  { orgId, policies }: ModuleChecksDeps,
): Promise<string | undefined> {
  if (code.kind !== "policy") return undefined;
  try {
    await policies.runnable(orgId, code.uri);
    return undefined;
  } catch (thrown) {
    const isMissing = isBerthError(thrown) && thrown.reason === "NOT_FOUND";
    if (isMissing) return `policyRuleURI: ${thrown.message}`;
    throw thrown;
  }
}

async function problemOf(code: ModuleCode, deps: ModuleChecksDeps): Promise<string | undefined> {
  if (code.kind === "policy") return missingPolicy(code, deps);
  const { sandbox } = deps;
  const checked = await sandbox.check(pythonPolicy({ [POLICY_ENTRY_FILE]: code.python }));
  if (checked.kind === "unavailable") throw new BerthError("UNAVAILABLE", checked.message);
  if (checked.kind === "ok") return undefined;
  const [first] = checked.problems;
  const line = typeof first?.line === "number" ? ` (line ${first.line})` : "";
  return `code: ${first?.message ?? "it is no policy"}${line}`;
}
