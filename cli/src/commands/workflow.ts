import type { Command } from "commander";
import { RefusedError, requestData } from "../client/http.ts";
import { at } from "../cluster-view.ts";
import { textOfFile } from "./backtest.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { cellText } from "./views.ts";

const CONFLICT = 409;

/** Adds `berth workflow apply|delete`; `berth get workflows` lists them. */
export function workflowCommand(program: Command, parts: CommandParts): void {
  const workflow = program
    .command("workflow")
    .description("write and remove the workflows that the autoscaler can run");
  withServer(workflow.command("apply"))
    .description("write a workflow, new or in place of the one of its id")
    .requiredOption("-f, --file <path>", "the workflow, JSON or YAML")
    .action(async (options: ClientOptions & { readonly file: string }) => {
      const { context } = parts;
      const body = { yaml: textOfFile(options.file, context.cwd) };
      const server = serverOf(options, context);
      const data = await applied(server, body);
      for (const warning of asTexts(at(data, "warnings"))) {
        context.stderr.write(`warning: ${warning}\n`);
      }
      printData(parts, data, { form: options.output, view: appliedView });
    });
  withServer(workflow.command("delete"))
    .description("remove a workflow that does not run")
    .argument("<workflow>", "its id")
    .action(async (id: string, options: ClientOptions) => {
      const path = `/workflows/${encodeURIComponent(id)}`;
      const data = await requestData(serverOf(options, parts.context), { method: "DELETE", path });
      printData(parts, data, { form: options.output, view: () => `workflow ${id} removed\n` });
    });
}

/** Created, or replaced where it is there already: the refusal names its id. */
async function applied(
  server: ReturnType<typeof serverOf>,
  body: { readonly yaml: string },
): Promise<unknown> {
  try {
    return await requestData(server, { method: "POST", path: "/workflows", body });
  } catch (thrown) {
    const id = thrown instanceof RefusedError ? existingId(thrown) : undefined;
    if (id === undefined) throw thrown;
    const path = `/workflows/${encodeURIComponent(id)}`;
    return requestData(server, { method: "PUT", path, body });
  }
}

function existingId({ status, message }: RefusedError): string | undefined {
  if (status !== CONFLICT) return undefined;
  return /workflow "([^"]+)" exists already/.exec(message)?.[1];
}

function appliedView(data: unknown): string {
  return `workflow ${cellText(at(data, "workflow_id"))} written, revision ${cellText(at(data, "revision"))}\n`;
}

function asTexts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map((one) => cellText(one)) : [];
}
