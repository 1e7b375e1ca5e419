import type { Logger, Part } from "@berth/service-kit";

/** A {@link Part} that runs a synchronous task at start and then at each interval; a failure is logged. */
export function periodic(
  name: string,
  options: { readonly intervalMs: number; readonly logger: Logger; readonly task: () => void },
): Part {
  let timer: NodeJS.Timeout | undefined;
  const run = () => {
    try {
      options.task();
    } catch (err) {
      options.logger.error("a periodic task failed", { task: name, err });
    }
  };
  return {
    name,
    async start() {
      run();
      timer = setInterval(run, options.intervalMs);
    },
    async stop() {
      clearInterval(timer);
    },
  };
}
