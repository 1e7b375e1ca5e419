// Loaded ahead of a worker's program (spawn-worker.ts): takes from the process what Node's permission model leaves
// it of others, which is signals and priorities. Nothing in a worker needs them; it is one layer of several.
import { createRequire, syncBuiltinESMExports } from "node:module";

const SIGNALS = ["kill", "_kill", "_debugProcess"] as const;

function deny(): never {
  throw Object.assign(new Error("not available in the policy sandbox"), {
    code: "ERR_ACCESS_DENIED",
  });
}

function takeFrom(holder: object, name: string): void {
  Object.defineProperty(holder, name, { value: deny, writable: false, configurable: false });
}

for (const name of SIGNALS) takeFrom(process, name);
takeFrom(createRequire(import.meta.url)("node:os"), "setPriority");
syncBuiltinESMExports();
