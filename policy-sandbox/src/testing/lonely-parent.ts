// A program for a test: starts a sandbox, says the ids of its worker processes on stdout and stays, so that
// the test can kill it and see what becomes of the workers.
import { LIMITS_BY_KIND } from "../index.ts";
import { openSandbox, policyWithBody, requestFor } from "./sandbox-fixture.ts";

const [mode] = process.argv.slice(2);
const sandbox = openSandbox();
await sandbox.ready();

const LOOP = "while True:\n    try:\n        while True: pass\n    except BaseException: pass";
const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 1_500, cpuMs: 60_000 };
if (mode === "looping") void sandbox.evaluate(requestFor(policyWithBody(LOOP), { limits }));
const wanted = mode === "looping" ? "running" : "idle";
const timer = setInterval(() => {
  const { workers } = sandbox.stats();
  if (!workers.some((worker) => worker.state === wanted)) return;
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify(workers.map((worker) => worker.pid))}\n`);
}, 20);
setInterval(() => undefined, 60_000);
