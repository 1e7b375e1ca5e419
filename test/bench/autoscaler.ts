import { spawnSync } from "node:child_process";
import { type BenchOptions, compared, type Emit, median, rounded } from "./report.ts";
import { startSyntheticFleet } from "./synthetic-fleet.ts";

/** The checks of a workflow that counts replicas by the GPUs that a subject keeps busy. */
const CHECK = `
def check(data):
    metrics = data["metrics"]["subjects"]["metrics"]
    return {s: m["gpu_usage"] for s, m in metrics.items() if m["gpu_usage"] is not None}
`;
const DECIDE = `
import math
def decide(data):
    quotas = data["quotas"]
    wanted = {}
    for subject, busy in data["previous_outputs"]["check"].items():
        desired = int(quotas[subject][0]["replica_count"])
        wanted[subject] = desired if abs(busy / desired - 0.7) < 0.1 else max(1, math.ceil(busy / 0.7))
    return wanted
`;

const asModule = (source: string, call: string) => `${source}
class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        return ${call}(input_data)
`;

/** The same two modules in CPython without a sandbox, each given its input as JSON. */
const NATIVE = `${CHECK}${DECIDE}
import json, sys, time
text = sys.stdin.read()
times = []
for _ in range(5):
    began = time.perf_counter()
    data = json.loads(text)
    out = json.dumps(check(data))
    data = json.loads(text)
    data["previous_outputs"] = {"check": json.loads(out)}
    json.dumps(decide(data))
    times.append(time.perf_counter() - began)
print(sorted(times)[2] * 1000)
`;

const WORKFLOW = {
  workflow_id: "bench",
  modules: {
    check: { code: asModule(CHECK, "check") },
    decide: { code: asModule(DECIDE, "decide") },
  },
  graph: { check: ["decide"], decide: [] },
};

/** Quotas that are written at a time. */
const AT_ONCE = 64;

/**
 * One evaluation of the autoscaler over many subjects and 100 clusters that report over real links: the report, two Python modules, guards,
 * requests and what is written of them. Baseline: the two modules alone in CPython, with the same input.
 */
export async function autoscalerBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const sizes = quick ? [50, 100] : [2_000, 10_000];
  const runs = quick ? 2 : 7;
  const fleet = await startSyntheticFleet({ clusters: quick ? 5 : 100 });
  const plane = new Plane(fleet.controlPlane.restUrl);
  await plane.send("POST", "/workflows", WORKFLOW);
  const rates = { rate_policies: [] };
  const guards = { scale_up: rates, scale_down: { ...rates, stabilization_seconds: 0 } };
  await plane.send("POST", "/autoscale/rules", { workflow_id: "bench", guards });
  await plane.send("POST", "/autoscale/interval", { interval: 86_400 });
  let made = 0;
  for (const size of sizes) {
    await plane.quotas(made, size);
    made = size;
    await measure({ plane, emit, size, runs });
  }
  await fleet.stop();
}

async function measure({
  plane,
  emit,
  size,
  runs,
}: {
  readonly plane: Plane;
  readonly emit: Emit;
  readonly size: number;
  readonly runs: number;
}): Promise<void> {
  await plane.report(size, () => 0.7);
  await plane.evaluate();
  const [still, moved]: [number[], number[]] = [[], []];
  for (let run = 0; run < runs; run += 1) {
    await plane.report(size, () => 0.7);
    still.push((await plane.evaluate()).took_ms);
    // One in ten has twice the load in one run, and half of it in the next.
    await plane.report(size, (place) => (place % 10 === run % 10 ? 1.9 : 0.7));
    moved.push((await plane.evaluate()).took_ms);
    await plane.settled();
  }
  const input = await plane.input();
  const native = nativeMs(input);
  const figure = (name: string, values: readonly number[]) => {
    const one = {
      figure: `${name}, ${size} subjects`,
      value: rounded(median(values)),
      unit: "ms",
      runs,
    };
    emit(compared(one, { name: "both modules in CPython", value: native }));
  };
  figure("evaluation that changes nothing", still);
  figure("evaluation that changes one subject in ten", moved);
  emit({ figure: `input of each module, ${size} subjects`, value: input.length, unit: "bytes" });
}

interface Summary {
  readonly evaluation_id: string;
  readonly state: string;
  readonly reason: string;
  readonly took_ms: number;
}

/** A control-plane as a client of REST sees it. */
class Plane {
  readonly #url: string;
  #last = "";

  constructor(url: string) {
    this.#url = url;
  }

  async send(method: string, at: string, body?: unknown): Promise<{ readonly data: never }> {
    const headers = { "content-type": "application/json" };
    const init = body === undefined ? {} : { headers, body: JSON.stringify(body) };
    const answer = await fetch(`${this.#url}${at}`, { method, ...init });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${at}: ${answer.status} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  }

  /** Quotas of one replica for the subjects from `from` to below `to`. */
  async quotas(from: number, to: number): Promise<void> {
    for (let at = from; at < to; at += AT_ONCE) {
      const some = Array.from({ length: Math.min(AT_ONCE, to - at) }, (_, place) => at + place);
      await Promise.all(
        some.map((place) => {
          const ids = { subject_id: `subject-${place}`, quota_id: `quota-${place}` };
          return this.send("POST", "/quota", { ...ids, replica_count: 1, max_replicas: 50 });
        }),
      );
    }
  }

  /** Tells busy GPUs of each subject. */
  async report(size: number, gpuUsage: (place: number) => number): Promise<void> {
    const subjects = Array.from({ length: size }, (_, place) => ({
      ...{ subject_id: `subject-${place}`, cpu_usage: 3.2, memory_usage: 4_096 },
      ...{ gpu_usage: gpuUsage(place), replicas_reported: 1 },
    }));
    await this.send("POST", "/metrics/webhook", { subjects });
  }

  async evaluate(): Promise<Summary> {
    const { data } = await this.send("POST", "/autoscale/evaluate", {});
    const summary: Summary = data;
    if (summary.state !== "done")
      throw new Error(`the evaluation ${summary.state}: ${summary.reason}`);
    this.#last = summary.evaluation_id;
    return summary;
  }

  /** Waits until no request is open. */
  async settled(): Promise<void> {
    for (;;) {
      const open = await Promise.all(
        ["pending", "dispatched"].map((state) =>
          this.send("GET", `/autoscale/requests?state=${state}&limit=1`),
        ),
      );
      if (open.every(({ data }) => (data as readonly unknown[]).length === 0)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** What the modules of the last evaluation were given. */
  async input(): Promise<string> {
    const { data } = await this.send("GET", `/autoscale/evaluations/${this.#last}/report`);
    const report: { readonly subjects: { readonly quotas: unknown } } = data;
    return JSON.stringify({ metrics: report, quotas: report.subjects.quotas, replicas: {} });
  }
}

function nativeMs(input: string): number {
  const { stdout, status } = spawnSync("python3", ["-c", NATIVE], { input, encoding: "utf8" });
  return status === 0 ? rounded(Number(stdout)) : Number.NaN;
}
