/**
 * The light half of this package: everything without an HTTP server, a store or a query engine. For
 * programs that run on every node and have to stay small.
 */
export { type BackoffOptions, backoffMs } from "./backoff.ts";
export { type Clock, sleep, systemClock } from "./clock.ts";
export {
  type Config,
  choiceSetting,
  integerSetting,
  type LoadedConfig,
  listSetting,
  loadConfig,
  loopbackHostSetting,
  portSetting,
  type Setting,
  type Settings,
  textSetting,
} from "./config.ts";
export { BerthError, isBerthError, type Reason, toBerthError } from "./errors.ts";
export {
  type AgentIdentity,
  type AgentIdentityOptions,
  openAgentIdentity,
} from "./identity/agent-identity.ts";
export { type EnrolmentToken, parseToken } from "./identity/enrolment-token.ts";
export { type Part, startAll, stopAll } from "./lifecycle.ts";
export {
  createLogger,
  LOG_LEVELS,
  type LogFields,
  type Logger,
  type LogLevel,
  silentLogger,
} from "./log.ts";
export { makeDirectory } from "./make-directory.ts";
export { type ProcessLike, type Program, runProgram } from "./program.ts";
export {
  type MetricFamily,
  type Observation,
  type ScrapedProgram,
  ScrapeRegistry,
} from "./prometheus/scrape-registry.ts";
export { type ScrapeServerOptions, scrapeServer } from "./prometheus/scrape-server.ts";
