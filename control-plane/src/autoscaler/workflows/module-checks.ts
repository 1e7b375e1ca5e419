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

/** Checks the code of a workflow's modules. INVALID_ARGUMENT names the module: no such policy, or code that cannot be one. */
export type CheckModules = (workflow: Workflow) => Promise<void>;

/** Looks whether published policies are there, and whether code in place is a policy; runs none of it. */
export function moduleChecks(deps: ModuleChecksDeps): CheckModules {
  return async ({ modules }) => {
    for (const [key, { code }] of modules) {
      const problem = await problemOf(code, deps);
      if (problem === undefined) continue;
      throw new BerthError("INVALID_ARGUMENT", `modules.${key}.${problem}`);
    }
  };
}

async function problemOf(
  code: ModuleCode,
  { orgId, policies, sandbox }: ModuleChecksDeps,
): Promise<string | undefined> {
  if (code.kind === "policy") {
    try {
      await policies.runnable(orgId, code.uri);
      return undefined;
    } catch (thrown) {
      if (isBerthError(thrown) && thrown.reason === "NOT_FOUND")
        return `policyRuleURI: ${thrown.message}`;
      throw thrown;
    }
  }
  const checked = await sandbox.check(pythonPolicy({ [POLICY_ENTRY_FILE]: code.python }));
  if (checked.kind === "unavailable") throw new BerthError("UNAVAILABLE", checked.message);
  if (checked.kind === "ok") return undefined;
  const [first] = checked.problems;
  const line = typeof first?.line === "number" ? ` (line ${first.line})` : "";
  return `code: ${first?.message ?? "it is no policy"}${line}`;
}
