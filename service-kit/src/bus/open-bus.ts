import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Bus } from "./bus.ts";
import type { RetryRules } from "./hand-over.ts";
import { InProcessBus } from "./in-process-bus.ts";
import { NatsBus } from "./nats-bus.ts";

/** What {@link openBus} is told. */
export interface OpenBusOptions {
  /** NATS servers with commas between them; empty or undefined: within this process. */
  readonly url?: string | undefined;
  readonly orgId: string;
  /** Subjects that JetStream keeps, with wildcards; `berth.<org>.>` by default. */
  readonly subjects?: readonly string[];
  /** Name of the stream; `berth-<org>` by default. */
  readonly stream?: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly retry?: RetryRules;
}

/**
 * The bus that the settings ask for. Returns at once: a server that is away shows in `status`. Throws
 * INVALID_ARGUMENT for a wrong URL.
 */
export function openBus(options: OpenBusOptions): Bus {
  const { url, orgId, logger, clock } = options;
  const retry = options.retry === undefined ? {} : { retry: options.retry };
  if (url === undefined || url === "") return new InProcessBus({ logger, clock, ...retry });
  const token = orgId.replaceAll(/[^A-Za-z0-9_-]/g, "_");
  const stream = {
    name: options.stream ?? `berth-${token}`,
    subjects: options.subjects ?? [`berth.${token}.>`],
  };
  return new NatsBus({ url, name: `berth-${token}`, stream, logger, ...retry });
}
