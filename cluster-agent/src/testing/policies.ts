import type { DocumentStore } from "@berth/service-kit";

/**
 * Puts a policy into an agent's store as one that it knows from the control-plane: `eval` with these lines of Python, of
 * which the last returns. To be called before its URI is asked for the first time.
 */
export async function knowPolicy(
  store: DocumentStore,
  uri: string,
  lines: readonly string[],
): Promise<void> {
  const code = [
    "class AIOSv1PolicyRule:",
    "    def __init__(self, rule_id, settings, parameters):",
    "        self.settings = settings",
    "    def eval(self, parameters, input_data, context):",
    ...lines.map((line) => `        ${line}`),
  ];
  const files = { "code/function.py": `${code.join("\n")}\n` };
  const body = { digest: `sha256:${uri}`, files, settingsJson: "{}", parametersJson: "{}" };
  const key = { orgId: "default_org", collection: "policies", id: uri };
  await store.apply([{ kind: "insert", key, body }]);
}
