import type { Command } from "commander";
import { requestData } from "../client/http.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { completeFields, type PolicyFlags, parsePolicyYaml } from "./policy-record.ts";
import { readPolicySource } from "./policy-source.ts";
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
      const { code, yaml } = readPolicySource(path, context.cwd);
      const { name, version, tag, description, type } = options;
      const flags = Object.fromEntries(
        Object.entries({ name, version, tag, description, type }).filter(([, value]) => value),
      ) as PolicyFlags;
      const written = yaml === undefined ? {} : parsePolicyYaml(yaml.text, yaml.path);
      const body = { ...completeFields(written, flags), ...code };
      const server = serverOf(options, context);
      const data = await requestData(server, { method: "POST", path: "/policy", body });
      printData(parts, data, { form: options.output, view: publishedView });
    });
}
