import { type Logger, type Part, sleep } from "@berth/service-kit";

const RETRY_MS = 2_000;

/**
 * A part that may not start yet (another agent has its directory, a file has to be mended) and must not keep the agent
 * from what else it does: it is started again every two seconds until it does, and the first failure of a kind is logged.
 */
export function patientStart(
  part: Part,
  { logger, retryMs = RETRY_MS }: { readonly logger: Logger; readonly retryMs?: number },
): Part {
  const stop = new AbortController();
  let retrying: Promise<void> | undefined;
  let told = "";
  const attempt = async (): Promise<boolean> => {
    try {
      await part.start();
      return true;
    } catch (err) {
      const why = String(err);
      if (why !== told)
        logger.error("a part does not start, trying again", { part: part.name, err });
      told = why;
      return false;
    }
  };
  const retry = async () => {
    do await sleep(retryMs, stop.signal);
    while (!stop.signal.aborted && !(await attempt()));
  };
  return {
    name: part.name,
    async start() {
      if (!(await attempt())) retrying = retry();
    },
    async stop() {
      stop.abort();
      await retrying;
      await part.stop();
    },
  };
}
