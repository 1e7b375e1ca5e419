// A program for a test: starts a sandbox, says the ids of its worker processes on stdout and stays, so that
// the test can kill it and see what becomes of the workers.
import { type HostClient, LIMITS_BY_KIND, type WorkerStats } from "../index.ts";
import { openSandbox, policyWithBody, requestFor } from "./sandbox-fixture.ts";

const [mode] = process.argv.slice(2);
const sandbox = openSandbox();
await sandbox.ready();

const LOOP = "while True:\n    try:\n        while True: pass\n    except BaseException: pass";
const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 1_500, cpuMs: 60_000 };
if (mode === "looping") void sandbox.evaluate(requestFor(policyWithBody(LOOP), { limits }));

// Waits in a host call, swallows whatever comes of it, and has all the time it wants.
const CALL = `try: self.settings['host'].wait()\nexcept BaseException: pass\n${LOOP}`;
const host: HostClient = {
  methods: {
    wait: () => {
      called = true;
      return new Promise(() => undefined);
    },
  },
};
let called = false;
if (mode === "calling") {
  const patient = { ...limits, wallMs: 60_000, hostCallMs: 60_000 };
  const options = { limits: patient, clients: { host } };
  void sandbox.evaluate(requestFor(policyWithBody(CALL), options));
}

const isReady = (worker: WorkerStats) => {
  if (mode === "idle") return worker.state === "idle";
  return worker.state === "running" && (mode !== "calling" || called);
};
const timer = setInterval(() => {
  const { workers } = sandbox.stats();
  if (!workers.some(isReady)) return;
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify(workers.map((worker) => worker.pid))}\n`);
}, 20);
setInterval(() => undefined, 60_000);
