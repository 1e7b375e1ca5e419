import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** A request that the API server has answered. */
export interface AuditedRequest {
  readonly verb: string;
  /** "deployments". */
  readonly resource: string;
}

interface Line {
  readonly verb: string;
  readonly objectRef?: { readonly resource?: string };
}

/** The API server's own account of what one user asks of it. */
export class AuditLog {
  readonly #file: string;
  /** Arguments of the API server. */
  readonly args: readonly string[];
  #readBytes = 0;

  /** `user` as the API server knows it: "system:serviceaccount:<namespace>:<name>". */
  constructor(directory: string, user: string) {
    this.#file = path.join(directory, "audit.log");
    const policyFile = path.join(directory, "audit-policy.json");
    const policy = {
      ...{ apiVersion: "audit.k8s.io/v1", kind: "Policy" },
      omitStages: ["RequestReceived", "ResponseStarted"],
      rules: [{ level: "Metadata", users: [user] }, { level: "None" }],
    };
    writeFileSync(policyFile, JSON.stringify(policy));
    writeFileSync(this.#file, "");
    this.args = [`--audit-policy-file=${policyFile}`, `--audit-log-path=${this.#file}`];
  }

  /** What was answered since it was read last. */
  newRequests(): readonly AuditedRequest[] {
    const bytes = readFileSync(this.#file).subarray(this.#readBytes);
    const whole = bytes.subarray(0, bytes.lastIndexOf("\n") + 1);
    this.#readBytes += whole.length;
    const lines = whole.toString("utf8").split("\n").slice(0, -1);
    return lines.map((line) => {
      const { verb, objectRef } = JSON.parse(line) as Line;
      return { verb, resource: objectRef?.resource ?? "" };
    });
  }
}
