import { BerthError } from "@berth/service-kit";
import type { PolicyRegistry } from "../policies/policy-registry.ts";

/** A registry in which nothing is published, for tests of the link. */
export const NO_POLICIES: Pick<PolicyRegistry, "runnable"> = {
  async runnable(_orgId, uri) {
    throw new BerthError("NOT_FOUND", `Policy rule with URI '${uri}' not found.`);
  },
};
