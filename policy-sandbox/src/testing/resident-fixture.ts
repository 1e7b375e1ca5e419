import { afterEach, expect } from "vitest";
import type {
  EvaluationRequest,
  ResidentDocument,
  ResidentInput,
  Sandbox,
  SandboxOptions,
} from "../index.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./sandbox-fixture.ts";

const FIELDS = { data: "data", cluster_metrics: "metrics", metrics: "metrics" };

/** The shape that allocator policies get. */
export const MEMBERS = { kind: "members", key: "cluster_data", fields: FIELDS } as const;

/** The tenant of `requestOn`. */
export const TENANT = "default_org/test";

/** Body of a policy that tells its inputs, the ids of the documents and their versions. */
export const SEE =
  "c = input_data['cluster_data']\nreturn [input_data['inputs'], list(c), {k: v['data']['version'] for k, v in c.items()}]";

/** For a test file: opens sandboxes that never sample unless told, and closes them after each test. */
export function sandboxOpener(): (options?: Partial<SandboxOptions>) => Sandbox {
  const opened: Sandbox[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((sandbox) => sandbox.close()));
  });
  return (options = {}) => {
    const sandbox = openSandbox({ inputCheckShare: 0, ...options });
    opened.push(sandbox);
    return sandbox;
  };
}

/** A document in two parts, `data` of this version and `metrics`. */
export function cluster(
  id: string,
  version = 1,
  data: unknown = { id, version, nodes: [] },
): ResidentDocument {
  const metrics = { version: 1, json: '{"load":10.0,"big":9223372036854775809}' };
  return { id, parts: { data: { version, json: JSON.stringify(data) }, metrics } };
}

/** A request on documents in the shape `MEMBERS`, for a policy whose `eval` has this body. */
export function requestOn(
  body: string,
  documents: readonly ResidentDocument[],
  overrides: Partial<EvaluationRequest> = {},
): EvaluationRequest {
  const resident: ResidentInput = { shape: MEMBERS, documents };
  return requestFor(policyWithBody(body), {
    inputJson: '{"inputs":{"gpus":2}}',
    resident,
    ...overrides,
  });
}

/** The outcome of an evaluation that returns. */
export async function returned(sandbox: Sandbox, request: EvaluationRequest) {
  return expectKind(await sandbox.evaluate(request), "returned");
}

/** Three evaluations that leave the input alone; the fourth gets the documents themselves. */
export async function earnTrust(sandbox: Sandbox, request: EvaluationRequest): Promise<void> {
  for (let count = 0; count < 3; count += 1) {
    expect(await returned(sandbox, request)).toMatchObject({
      inputCopied: true,
      inputChanged: false,
    });
  }
}
