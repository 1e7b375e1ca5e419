import type { Command } from "commander";
import { type ApiServer, requestData } from "../client/http.ts";
import { at } from "../cluster-view.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { completeFields, type PolicyFlags, parsePolicyYaml } from "./policy-record.ts";
import { type PolicyFolder, readPolicySource } from "./policy-source.ts";
import { policiesView, policyView, publishedView } from "./views.ts";

/** Adds `berth policy publish|list|get`. */
export function policyCommand(program: Command, parts: CommandParts): void {
  const policy = program.command("policy").description("publish policies and look at them");
  publishCommand(policy, parts);
  withServer(policy.command("list"))
    .description("list the policies")
    .action(async (options: ClientOptions) => {
      const server = serverOf(options, parts.context);
      const data = await requestData(server, { method: "GET", path: "/policies" });
      printData(parts, data, { form: options.output, view: policiesView });
    });
  withServer(policy.command("get <uri>"))
    .description("show one policy: name:version-tag")
    .action(async (uri: string, options: ClientOptions) => {
      const server = serverOf(options, parts.context);
      const path = `/policy/${encodeURIComponent(uri)}`;
      const data = await requestData(server, { method: "GET", path });
      printData(parts, data, { form: options.output, view: policyView });
    });
}

function publishCommand(policy: Command, parts: CommandParts): void {
  withServer(policy.command("publish <path>"))
    .description("publish a folder with code/function.py, or an archive of one")
    .option("--name <name>", "name of the policy (key in policy.yaml: name)")
    .option("--version <version>", "version (key: version)")
    .option("--tag <tag>", 'release tag (key: release_tag; default: "stable")')
    .option("--description <text>", "description (key: description)")
    .option("--type <type>", "kind of policy (key: type)")
    .action(async (path: string, options: ClientOptions & PolicyFlags) => {
      const { context } = parts;
      const server = serverOf(options, context);
      const source = readPolicySource(path, context.cwd);
      const { files, yaml } =
        source.kind === "folder" ? source : await unpacked(source.archive, path, server);
      const { name, version, tag, description, type } = options;
      const flags = Object.fromEntries(
        Object.entries({ name, version, tag, description, type }).filter(([, value]) => value),
      ) as PolicyFlags;
      const written = yaml === undefined ? {} : parsePolicyYaml(yaml.text, yaml.path);
      const body = { ...completeFields(written, flags), files };
      const data = await requestData(server, { method: "POST", path: "/policy", body });
      printData(parts, data, { form: options.output, view: publishedView });
    });
}

/** An archive is unpacked by the control-plane, inside its sandbox, and then read like a folder. */
async function unpacked(archive: string, path: string, server: ApiServer): Promise<PolicyFolder> {
  const request = { method: "POST", path: "/policy/unpack", body: { archive } } as const;
  const data = await requestData(server, request);
  const { "policy.yaml": text, ...files } = at(data, "files") as Record<string, string>;
  return {
    kind: "folder",
    files,
    ...(text === undefined ? {} : { yaml: { path: `${path}: policy.yaml`, text } }),
  };
}
