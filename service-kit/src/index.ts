export { type BackoffOptions, backoffMs } from "./backoff.ts";
export type {
  Bus,
  BusHandler,
  BusMessage,
  BusStatus,
  BusSubscription,
  OutgoingMessage,
  SubscribeOptions,
} from "./bus/bus.ts";
export { type OpenBusOptions, openBus } from "./bus/open-bus.ts";
export { redactUrl } from "./bus/redact-url.ts";
export { addressOf, authorizationOf, callerAddress } from "./caller-address.ts";
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
  requiredTextSetting,
  type Setting,
  type Settings,
  textSetting,
} from "./config.ts";
export {
  authenticationGate,
  type EnrolmentGuard,
  enrolmentGate,
  errorMapping,
  knownCaller,
  unaryPathsOf,
} from "./connect-edge.ts";
export {
  type CandidateView,
  type DuplicatesView,
  DuplicateWatch,
  type DuplicateWatchOptions,
} from "./duplicates/duplicate-watch.ts";
export {
  type AskingAgent,
  type DuplicateRules,
  type DuplicateVerdict,
  duplicateRules,
} from "./duplicates/judge-duplicates.ts";
export { type KeyHold, keyHoldRefusal } from "./duplicates/key-hold.ts";
export type { AgentInstance } from "./duplicates/sightings.ts";
export type { Candidate, PickRequest, Standing } from "./duplicates/standing.ts";
export {
  BerthError,
  ERROR_TABLE,
  type ErrorBody,
  isBerthError,
  type Reason,
  toBerthError,
  toConnectError,
  toErrorBody,
} from "./errors.ts";
export { type ArrivalLimits, createBoundedServer } from "./http/bounded-server.ts";
export { boundedText } from "./http/bounded-text.ts";
export type { ServerTls } from "./http/certificate-renewal.ts";
export { type Departure, departureOf } from "./http/departure.ts";
export { HttpTraffic } from "./http/http-traffic.ts";
export {
  createHttp2Server,
  type Http2Server,
  type Http2ServerOptions,
} from "./http/http2-server.ts";
export { type ListenAddress, listenError } from "./http/listen-error.ts";
export { losslessBody } from "./http/lossless-body.ts";
export { checkOrigin, type OriginRules, originRefusal } from "./http/origin.ts";
export { answerRaw } from "./http/raw-answer.ts";
export {
  MAX_BODY_BYTES,
  RequestBudget,
  type RequestHold,
  type RequestSize,
  requestSize,
} from "./http/request-budget.ts";
export {
  bodyObject,
  createHttpServer,
  type HttpServerOptions,
  listening,
  takeBody,
} from "./http/server.ts";
export type { UnknownCallerLimits } from "./http/unknown-callers.ts";
export { UnsentReplies } from "./http/unsent-replies.ts";
export {
  type AgentIdentity,
  type AgentIdentityOptions,
  openAgentIdentity,
} from "./identity/agent-identity.ts";
export { type Authority, openAuthority, type ServerCertificate } from "./identity/authority.ts";
export { Enrolment, openEnrolment } from "./identity/enrolment.ts";
export type { CreatedToken, EnrolmentOptions, ReplaceKey } from "./identity/enrolment-options.ts";
export {
  bearerSecret,
  type EnrolmentToken,
  formatToken,
  newSecret,
  parseToken,
} from "./identity/enrolment-token.ts";
export {
  openPortSecurity,
  type PortSecurity,
  type PortSecurityOptions,
} from "./identity/port-security.ts";
export { isLoopback, serverNamesSetting } from "./identity/server-names.ts";
export {
  type Binding,
  type EnrolmentRequest,
  MAX_ENROL_BYTES,
  type TokenRecord,
  type TokenRequest,
} from "./identity/token-record.ts";
export { addTokenRoutes, type TokenRoutesDeps } from "./identity/token-routes.ts";
export {
  cloneJson,
  isJsonObject,
  jsonDepth,
  MAX_JSON_DEPTH,
  MAX_JSON_VALUES,
  parseClientJson,
  toNumber,
} from "./json.ts";
export {
  boundMessage,
  type ExceededBound,
  exceededBound,
  type JsonBounds,
  pathAt,
} from "./json-bounds.ts";
export {
  endOfString,
  itemsOf,
  memberOf,
  type Span,
  type Splice,
  setMember,
  spliced,
  valueAt,
  wholeOf,
  withMember,
} from "./json-spans.ts";
export { type Part, startAll, stopAll } from "./lifecycle.ts";
export {
  createLogger,
  LOG_LEVELS,
  type LogFields,
  type Logger,
  type LogLevel,
  silentLogger,
} from "./log.ts";
export { isRawNumber, parseLossless, type RawNumber } from "./lossless-json.ts";
export { makeDirectory } from "./make-directory.ts";
export { newestOf } from "./mirror/entry-table.ts";
export type { Mirror, MirrorCopies, MirrorEntry, MirrorStatus } from "./mirror/mirror.ts";
export { type OpenMirrorOptions, openMirror } from "./mirror/open-mirror.ts";
export { operationWarnings } from "./operation-warnings.ts";
export { Pacer } from "./pacer.ts";
export { unfitForPolicies } from "./policy-fitness.ts";
export {
  type Authenticate,
  type Credentials,
  loopbackAuthenticator,
  type Principal,
} from "./principal.ts";
export { type ProcessLike, type Program, runProgram } from "./program.ts";
export {
  type MetricFamily,
  type Observation,
  type ScrapedProgram,
  ScrapeRegistry,
} from "./prometheus/scrape-registry.ts";
export { addScrapeRoute } from "./prometheus/scrape-route.ts";
export { compileFilter, type DocumentFilter } from "./query/filter.ts";
export { filterObject, filterOfBody, filterOfParameters } from "./query/filter-of-request.ts";
export { plainOf, updateLossless } from "./query/lossless-update.ts";
export { type CompiledPattern, compilePattern, linearPattern } from "./query/patterns.ts";
export {
  QUERY_LIMITS,
  type QueryLimits,
  QueryRunner,
  type Selection,
} from "./query/query-runner.ts";
export { applyUpdate } from "./query/update.ts";
export { Recurring, type RecurringOptions } from "./recurring.ts";
export { Serial } from "./serial.ts";
export { StallGuard } from "./stall-guard.ts";
export { allPages } from "./store/all-pages.ts";
export type {
  ApplyOutcome,
  DocumentKey,
  DocumentStore,
  ListPage,
  StoredDocument,
  Write,
} from "./store/document-store.ts";
export { KeyedDocuments } from "./store/keyed-documents.ts";
export { applyWithOptional } from "./store/optional-writes.ts";
export { openSqliteDocumentStore } from "./store/sqlite-document-store.ts";
export { parse, typeName, type Validation, validate } from "./validate.ts";
