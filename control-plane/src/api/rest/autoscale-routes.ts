import { BerthError, bodyObject, losslessBody, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import { showAutoscaleRules } from "../../autoscaler/settings/autoscale-rules.ts";
import { readInterval } from "../../autoscaler/settings/autoscale-settings.ts";
import type {
  CurrentSetting,
  SettingBody,
  VersionedSetting,
} from "../../autoscaler/settings/versioned-setting.ts";
import { sendListed } from "./listed.ts";
import { sendData } from "./query-parameters.ts";

const RollbackBody = Type.Object(
  { version: Type.Integer({ minimum: 1 }) },
  { additionalProperties: false },
);

const tags = ["autoscaler"];

/**
 * What the autoscaler is told, in the shapes of the seed: `/autoscale/config` and `/autoscale/interval`; and beside them its rules, and
 * the versions of config and rules.
 */
export function autoscaleRoutes(
  server: FastifyInstance,
  { settings, timer, workflows }: Autoscaler,
): void {
  settingRoutes(server, {
    ...{ path: "/autoscale/config", setting: settings.config },
    what: "Free keys that reach the modules of workflows; null takes a key away",
    message: "Configuration updated",
    show: ({ body }) => body,
  });
  settingRoutes(server, {
    ...{ path: "/autoscale/rules", setting: settings.rules },
    what: "The workflow that decides, and what bounds it; merged as by RFC 7396",
    message: "Rules updated",
    show: ({ value, body }) => showAutoscaleRules(value, body),
    warningsOf: ({ value: { workflowId } }) => {
      const isThere = workflowId === undefined || workflows.find(workflowId) !== undefined;
      return isThere ? [] : [`there is no workflow ${JSON.stringify(workflowId)} yet`];
    },
  });
  server.get(
    "/autoscale/interval",
    { schema: { tags, summary: "Seconds from one evaluation to the next" } },
    async () => {
      const nextInMs = timer.nextInMs;
      const next = nextInMs === undefined ? null : Math.round(nextInMs / 100) / 10;
      return { success: true, data: { interval: settings.interval.current.value, next_in: next } };
    },
  );
  server.post(
    "/autoscale/interval",
    { schema: { tags, summary: "Set it; takes effect at once" } },
    async (request) => {
      const interval = readInterval(bodyObject(request).interval);
      await settings.interval.merge({ interval });
      return { success: true, message: "Interval updated", data: { interval } };
    },
  );
}

/** A setting with its versions at a path. */
function settingRoutes<T>(
  server: FastifyInstance,
  {
    path,
    setting,
    what,
    message,
    show,
    warningsOf = () => [],
  }: {
    readonly path: string;
    readonly setting: VersionedSetting<T>;
    readonly what: string;
    readonly message: string;
    readonly show: (current: CurrentSetting<T>) => SettingBody;
    readonly warningsOf?: (current: CurrentSetting<T>) => readonly string[];
  },
): void {
  const changed = (current: CurrentSetting<T>) => {
    const warnings = warningsOf(current);
    const more = warnings.length === 0 ? {} : { warnings };
    const { version } = current;
    return JSON.stringify({ success: true, message, data: show(current), version, ...more });
  };
  server.get(path, { schema: { tags, summary: what } }, async (_, reply) => {
    const { current } = setting;
    const text = JSON.stringify({ success: true, data: show(current), version: current.version });
    return reply.type("application/json").send(text);
  });
  server.post(path, { schema: { tags, summary: `Change it. ${what}` } }, async (request, reply) => {
    const current = await setting.merge(losslessBody(request));
    return reply.type("application/json").send(changed(current));
  });
  server.get(
    `${path}/versions`,
    { schema: { tags, summary: "Its versions that are kept, the newest first" } },
    async (_, reply) => {
      const versions = setting.versions().map(({ version, what: done, at }) => {
        return { version, what: done, at };
      });
      return sendListed(reply, versions, undefined);
    },
  );
  server.get<{ Params: { readonly version: string } }>(
    `${path}/versions/:version`,
    { schema: { tags, summary: "What it was at a version" } },
    async ({ params }, reply) => sendData(reply, setting.bodyOf(readVersion(params.version))),
  );
  server.post(
    `${path}/rollback`,
    { schema: { tags, body: RollbackBody, summary: "Make it what it was at a version" } },
    async (request, reply) => {
      const { version } = parse(RollbackBody, bodyObject(request));
      return reply.type("application/json").send(changed(await setting.rollBack(version)));
    },
  );
}

function readVersion(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new BerthError("INVALID_ARGUMENT", "version: expected a whole number from 1");
}
