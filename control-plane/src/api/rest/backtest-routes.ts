import { BerthError, type Clock, isJsonObject, losslessBody, typeName } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import { loggedReports, type RecordedReport } from "../../autoscaler/backtest/recorded-report.ts";
import { reportData } from "../../autoscaler/evaluation/taken-report.ts";
import { readAutoscaleRules } from "../../autoscaler/settings/autoscale-rules.ts";
import { readWorkflow, type Workflow } from "../../autoscaler/workflows/workflow.ts";
import type { Body } from "../../autoscaler/workflows/workflow-body.ts";
import type { WorkflowBook } from "../../autoscaler/workflows/workflow-book.ts";
import { goneSignal } from "./agent-reply.ts";

const FIELDS = [
  ...["workflow_id", "workflow", "config", "rules"],
  ...["since", "until", "limit", "reports", "points"],
];
const DEFAULT_LIMIT = 200;
const MAX_LIMIT = 2_000;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `POST /autoscale/backtest`: a workflow over recorded reports against what was done. */
export function backtestRoutes(
  server: FastifyInstance,
  {
    backtest,
    workflows,
    settings,
    log,
    clock,
  }: Pick<Autoscaler, "backtest" | "workflows" | "settings" | "log"> & {
    readonly clock: Pick<Clock, "timestamp">;
  },
): void {
  server.post(
    "/autoscale/backtest",
    {
      schema: {
        tags: ["autoscaler"],
        summary: "Run a workflow over recorded reports; tells what would have been other",
      },
    },
    async (request, reply) => {
      const body = losslessBody(request);
      const unknown = Object.keys(body).find((key) => !FIELDS.includes(key));
      if (unknown !== undefined) {
        throw invalid(
          `${unknown.slice(0, 60)}: unknown field; expected one of ${FIELDS.join(", ")}`,
        );
      }
      const workflow = readGiven(body, workflows);
      const outcome = await backtest.run({
        workflow,
        config: readObject(body, "config") ?? settings.config.current.body,
        rules:
          body.rules === undefined
            ? settings.rules.current.value
            : readAutoscaleRules(readObject(body, "rules") ?? {}),
        reports: readReports(body.reports) ?? loggedReports(log, readWindow(body, clock)),
        signal: goneSignal(request, reply),
      });
      const { span, evaluations, failed, result } = outcome;
      const data = {
        workflow_id: workflow.id === "" ? null : workflow.id,
        from: span === undefined ? null : new Date(span.fromMs).toISOString(),
        until: span === undefined ? null : new Date(span.untilMs).toISOString(),
        ...{ evaluations, failed, subjects: result.subjects },
        ...(body.points === true ? result.points : {}),
      };
      return { success: true, data };
    },
  );
}

function readGiven(body: Body, workflows: WorkflowBook): Workflow {
  const { workflow_id: id, workflow } = body;
  if ((id === undefined) === (workflow === undefined)) {
    throw invalid("workflow_id: expected either it or workflow");
  }
  if (workflow !== undefined) {
    const yaml = isJsonObject(workflow) ? workflow.yaml : undefined;
    return readWorkflow(yaml ?? workflow);
  }
  if (typeof id === "string") return workflows.runnable(id);
  throw invalid(`workflow_id: expected the id of a workflow, got ${typeName(id)}`);
}

function readWindow(body: Body, clock: Pick<Clock, "timestamp">) {
  const nowMs = Date.parse(clock.timestamp());
  const { limit = DEFAULT_LIMIT } = body;
  if (typeof limit !== "number" || !Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw invalid(`limit: expected a whole number from 1 to ${MAX_LIMIT}`);
  }
  const fromMs = readMoment("since", body.since, nowMs) ?? 0;
  return { fromMs, untilMs: readMoment("until", body.until, nowMs) ?? nowMs, limit };
}

/** Unix time, ms, of an ISO 8601 time or of so long ago. */
function readMoment(field: string, value: unknown, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = String(value);
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (unit !== undefined) return nowMs - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  const atMs = timeMs(text);
  if (atMs !== undefined) return atMs;
  throw invalid(`${field}: expected an ISO 8601 time, or a time ago such as "2h"`);
}

/** Unix time, ms, of an ISO 8601 time; undefined of anything else. */
function timeMs(value: unknown): number | undefined {
  const atMs = typeof value === "string" && /^\d{4}-/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : atMs;
}

function readReports(value: unknown): readonly RecordedReport[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length > MAX_LIMIT) {
    throw invalid(`reports: expected a list of at most ${MAX_LIMIT} {"at", "data"}`);
  }
  const reports = value.map((one: unknown, index): RecordedReport => {
    const atMs = isJsonObject(one) ? timeMs(one.at) : undefined;
    if (!isJsonObject(one) || atMs === undefined) {
      throw invalid(`reports[${index}]: expected {"at": an ISO 8601 time, "data": a report}`);
    }
    return { atMs, ageMs: 0, dataJson: reportData(JSON.stringify(one.data ?? null)) };
  });
  return reports.toSorted((one, other) => one.atMs - other.atMs);
}

function readObject(body: Body, field: string): Body | undefined {
  const value = body[field];
  if (value === undefined || isJsonObject(value)) return value;
  throw invalid(`${field}: expected an object, got ${typeName(value)}`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
