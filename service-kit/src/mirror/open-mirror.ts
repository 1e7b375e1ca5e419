import { type Clock, systemClock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { FileMirror } from "./file-mirror.ts";
import type { Mirror } from "./mirror.ts";
import { RedisMirror } from "./redis-mirror.ts";
import { TieredMirror } from "./tiered-mirror.ts";

/** What {@link openMirror} is told. */
export interface OpenMirrorOptions {
  /** `redis://` or `rediss://`; empty or undefined: the file alone. */
  readonly redisUrl?: string | undefined;
  /** Folder of the local file. */
  readonly directory: string;
  readonly orgId: string;
  readonly logger: Logger;
  readonly clock?: Clock;
}

/**
 * The mirror that the settings ask for. Returns at once: a server that is away shows in `status`. Throws
 * INVALID_ARGUMENT for a wrong URL.
 */
export function openMirror(options: OpenMirrorOptions): Mirror {
  const { redisUrl, directory, orgId, logger, clock = systemClock } = options;
  const name = `mirror-${orgId.replaceAll(/[^A-Za-z0-9_-]/g, "_")}.json`;
  const isShared = redisUrl !== undefined && redisUrl !== "";
  const shared = isShared ? new RedisMirror({ url: redisUrl, orgId, logger, clock }) : undefined;
  const local = new FileMirror({ directory, name, logger, clock });
  return shared === undefined ? local : new TieredMirror({ shared, local });
}
