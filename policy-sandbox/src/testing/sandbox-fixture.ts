import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished } from "vitest";
import {
  createSandbox,
  type EvaluationOutcome,
  type EvaluationRequest,
  LIMITS_BY_KIND,
  pythonPolicy,
  type Sandbox,
  type SandboxOptions,
} from "../index.ts";
import { STATE_DIR } from "./state-dir.ts";

/** A sandbox on the shared image. */
export function openSandbox(options: Partial<SandboxOptions> = {}): Sandbox {
  return createSandbox({ stateDir: STATE_DIR, ...options });
}

/** A sandbox on the shared image, for the test that asks: it is closed when that ends. */
export function sandboxForTest(options: Partial<SandboxOptions> = {}): Sandbox {
  const sandbox = openSandbox(options);
  onTestFinished(() => sandbox.close());
  return sandbox;
}

/** A policy whose `eval` has this body (`parameters`, `input_data`, `context`, `self` are in reach). */
export function policyWithBody(body: string): string {
  const lines = body.split("\n").map((line) => `        ${line}`);
  return [
    "class AIOSv1PolicyRule:",
    "    def __init__(self, rule_id, settings, parameters):",
    "        self.settings = settings",
    "        self.parameters = parameters",
    "    def eval(self, parameters, input_data, context):",
    ...lines,
    "",
  ].join("\n");
}

/** A request with short limits; `source` is the text of code/function.py. */
export function requestFor(
  source: string,
  overrides: Partial<EvaluationRequest> = {},
): EvaluationRequest {
  return {
    tenant: "default_org/test",
    policyUri: "test:1.0.0-stable",
    code: pythonPolicy({ "code/function.py": source }),
    settingsJson: "{}",
    parametersJson: "{}",
    inputJson: "{}",
    limits: LIMITS_BY_KIND.event,
    ...overrides,
  };
}

/** The outcome when it is of this kind; throws with the whole outcome otherwise. */
export function expectKind<K extends EvaluationOutcome["kind"]>(
  outcome: EvaluationOutcome,
  kind: K,
): Extract<EvaluationOutcome, { kind: K }> {
  if (outcome.kind === kind) return outcome as Extract<EvaluationOutcome, { kind: K }>;
  throw new Error(`expected ${kind}, got ${JSON.stringify(outcome)}`);
}

/** Polls until the condition holds; throws after the deadline. */
export async function until(condition: () => boolean, deadlineMs = 10_000): Promise<void> {
  const endsAt = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error("the condition did not come true in time");
    await delay(20);
  }
}

/** Whether a process with this id exists. */
export function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
