import { describe, expect, it } from "vitest";
import { PLAIN_PROFILE, readProfile } from "./allocation-profile.ts";

const read = (body: unknown) => readProfile(JSON.stringify(body));

describe("the profile that allocation_info says", () => {
  it.each(["", "gpu-allocation", "{not json", "[1]", "7", '"text"', '{"team":"a"}', "{}"])(
    "is none of its own for the label %j",
    (label) => {
      expect(readProfile(label)).toBe(PLAIN_PROFILE);
    },
  );

  it("is what its JSON says", () => {
    const body = {
      ...{ policy_rule_uri: "p:1-s", parameters: { a: 1 }, clusters: ["eu-1"] },
      ...{ gpus_per_replica: { H100: 2, L4: 0.5 }, block_id: "echo", cluster_id: "eu-1" },
      ...{ victim_policy_rule_uri: "v:1-s", min_replicas: "1", max_replicas: 8, filter: null },
    };
    expect(read(body)).toEqual({
      ...{ policyRuleUri: "p:1-s", parameters: { a: 1 }, clusters: ["eu-1"] },
      ...{ gpusPerReplica: { H100: 2_000, L4: 500 }, blockId: "echo", clusterId: "eu-1" },
      ...{ victimPolicyRuleUri: "v:1-s", minReplicas: 1, maxReplicas: 8 },
    });
  });

  it.each([
    [{ policy: "p", block_id: "b" }, "allocation_info.policy: expected one of policy_rule_uri, "],
    [{ policy_rule_uri: 7 }, "allocation_info.policy_rule_uri: expected text of 1-512 characters"],
    [{ policy_rule_uri: "" }, "got 0 characters"],
    [{ parameters: [] }, "allocation_info.parameters: expected an object, got array"],
    [{ clusters: [] }, "allocation_info.clusters: expected a list of 1-10000 ids"],
    [{ clusters: [7] }, "allocation_info.clusters.0: expected text"],
    [{ clusters: ["a"], filter: {} }, "allocation_info.filter: expected nothing beside clusters"],
    [{ gpus_per_replica: { H100: -1 } }, "allocation_info.gpus_per_replica.H100: expected GPUs"],
    [{ cluster_id: "a" }, "allocation_info.cluster_id: expected block_id beside it"],
    [{ min_replicas: 3, max_replicas: 2 }, "allocation_info.min_replicas: expected at most"],
    [{ max_replicas: true }, "allocation_info.max_replicas: expected a whole number"],
  ])("is refused by the field: %j", (body, message) => {
    expect(() => read(body)).toThrow(message);
  });
});
