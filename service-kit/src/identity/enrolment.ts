import { BerthError } from "../errors.ts";
import type { Authenticate, Credentials, Principal } from "../principal.ts";
import type { CreatedToken, EnrolmentOptions, ReplaceKey } from "./enrolment-options.ts";
import {
  type Grant,
  isBoundSo,
  isPast,
  isUsable,
  newToken,
  refuseOther,
  refuseRekey,
  refuseStale,
  spend,
  whySecond,
} from "./enrolment-rules.ts";
import { EnrolmentStore, type StoredBinding, type StoredToken } from "./enrolment-store.ts";
import { bearerSecret, formatToken, requireToken, sha256Hex } from "./enrolment-token.ts";
import {
  type Binding,
  checkEnrolmentRequest,
  checkTokenRequest,
  type EnrolmentRequest,
  isSpent,
  LOCAL_TOKEN_ID,
  type TokenRecord,
  type TokenRequest,
} from "./token-record.ts";

const MAX_TOKENS = 10_000;
const MAX_BINDINGS = 20_000;
/** Changes that wait for those before them; each takes a few ms. */
const MAX_WAITING = 10_000;

/**
 * Opens the enrolment of one org's agents: reads tokens and bindings from the store. Rejects with
 * INVALID_ARGUMENT when `localToken` is malformed.
 */
export async function openEnrolment(options: EnrolmentOptions): Promise<Enrolment> {
  const kept = new EnrolmentStore(options.store, options.orgId);
  await kept.load();
  return new Enrolment(options, kept);
}

/**
 * Who may speak for which id. An enrolment token is spent to bind an id to an identity and to the hash
 * of a key that the agent made; from then on the key is the agent's credential. Neither keys nor
 * secrets of tokens are kept, only their SHA-256. Changes are made one after the other, so of two
 * enrolments at once one wins.
 */
export class Enrolment {
  /** Lets in callers with `Bearer <own key>`, as the agent that the key was bound for. */
  readonly authenticate: Authenticate;
  readonly #options: EnrolmentOptions;
  readonly #kept: EnrolmentStore;
  readonly #localSha256: string | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: EnrolmentOptions, kept: EnrolmentStore) {
    const { localToken } = options;
    this.#options = options;
    this.#kept = kept;
    if (localToken !== undefined && localToken !== "") {
      this.#localSha256 = sha256Hex(requireToken("BERTH_LOCAL_TOKEN", localToken).secret);
    }
    this.authenticate = (credentials) => this.#authenticate(credentials);
  }

  /**
   * Makes a token. INVALID_ARGUMENT names a bad field; OVERLOADED when there are 10,000 that are
   * neither spent nor expired.
   */
  async createToken(request: TokenRequest): Promise<CreatedToken> {
    checkTokenRequest(request);
    const { token, secret } = newToken(request, this.#options.clock.timestamp());
    await this.#inTurn(() => {
      const dropped = this.#tokensToDrop();
      const removals = dropped.map((old) => ({
        token: { id: old.id, before: old, after: undefined },
      }));
      return this.#kept.change([
        ...removals,
        { token: { id: token.id, before: undefined, after: token } },
      ]);
    });
    const { caPin } = this.#options;
    return { token: formatToken({ secret, ...(caPin ? { caPin } : {}) }), record: toRecord(token) };
  }

  /** Tokens that can still be used or looked at, oldest first, without secrets. */
  async listTokens(): Promise<readonly TokenRecord[]> {
    return this.#kept.tokens().map(toRecord);
  }

  /** Removes a token; keys that it bound stay. NOT_FOUND when there is none with that id. */
  async revokeToken(id: string): Promise<void> {
    await this.#inTurn(async () => {
      const before = this.#kept.token(id);
      if (before === undefined) throw new BerthError("NOT_FOUND", `token ${id} is not known`);
      await this.#kept.change([{ token: { id, before, after: undefined } }]);
    });
  }

  /**
   * Binds a subject to its identity and key; durable before it resolves. `authorization` carries the
   * enrolment token. Rejects as the comment of berth.enrolment.v1.EnrolmentService says, with
   * OVERLOADED when 20,000 subjects are bound.
   */
  async enrol(authorization: string | undefined, request: EnrolmentRequest): Promise<void> {
    // Callers without a known token do not queue before those with one.
    this.#grantOf(authorization);
    await this.#inTurn(() => this.#enrol(authorization, request));
  }

  /** Throws UNAUTHENTICATED when the header carries no enrolment token that is known. */
  checkToken(authorization: string | undefined): void {
    this.#grantOf(authorization);
  }

  /** Whether the header carries an enrolment token that can still bind somebody. */
  hasUsableToken(authorization: string | undefined): boolean {
    const grant = this.#knownGrant(authorization);
    return grant !== undefined && isUsable(grant, this.#options.clock.timestamp());
  }

  /** Whether the header carries an enrolment token that was made for exactly this subject and can still bind it. */
  isMadeFor(authorization: string | undefined, subjectId: string): boolean {
    const grant = this.#knownGrant(authorization);
    if (grant?.kind !== "kept" || grant.token.subjectId !== subjectId) return false;
    return isUsable(grant, this.#options.clock.timestamp());
  }

  /** Who is bound, in the order of their ids. */
  bindings(): readonly Binding[] {
    return this.#kept.bindings().map(({ subjectId, identity, enrolledAt, tokenId }) => {
      return { subjectId, identity, enrolledAt, tokenId };
    });
  }

  /** Frees a subject's id and ends its key; gives whether it was bound. */
  async forget(subjectId: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const before = this.#kept.binding(subjectId);
      if (before === undefined) return false;
      await this.#kept.change([{ binding: { id: subjectId, before, after: undefined } }]);
      this.#options.onKeyEnded?.(subjectId);
      return true;
    });
  }

  #authenticate({ authorization }: Credentials): Principal {
    const { orgId, subject } = this.#options;
    const key = bearerSecret(authorization);
    if (key === undefined) {
      throw new BerthError("UNAUTHENTICATED", "authorization: expected Bearer and the agent's key");
    }
    const binding = this.#kept.bindingOfKey(sha256Hex(key));
    if (binding === undefined) {
      const message = `authorization: this key is not enrolled as one of a ${subject}; enrol with a token of \`berth token create\``;
      throw new BerthError("UNAUTHENTICATED", message);
    }
    const agent = { id: binding.subjectId, identity: binding.identity };
    return { orgId, role: "agent", agent };
  }

  async #enrol(authorization: string | undefined, request: EnrolmentRequest): Promise<void> {
    const { clock, logger, subject } = this.#options;
    const { subjectId, identity } = request;
    const grant = this.#grantOf(authorization);
    checkEnrolmentRequest(request);
    refuseOther(grant, request, subject);
    const before = this.#kept.binding(subjectId);
    const keySha256 = Buffer.from(request.keySha256).toString("hex");
    const tokenId = grant.kind === "kept" ? grant.token.id : LOCAL_TOKEN_ID;
    const isBound = isBoundSo(before, { identity, keySha256 });
    // The reply to the first call was lost; by now its token may be spent or have expired.
    if (isBound && before.tokenId === tokenId) return;
    refuseStale(grant, clock.timestamp());
    if (isBound) return;
    this.#refuseSecond(before, request);
    if (before !== undefined) this.#refuseReplacement(grant, request);
    this.#refuseSharedKey(keySha256, subjectId);
    const enrolledAt = clock.timestamp();
    const after: StoredBinding = { subjectId, identity, enrolledAt, tokenId, keySha256 };
    const token = grant.kind === "local" ? {} : { token: spend(grant.token, subjectId) };
    const bind: ReplaceKey = (beside) =>
      this.#kept.change([{ binding: { id: subjectId, before, after }, ...token }], beside);
    const { onKeyReplacing } = this.#options;
    if (before === undefined || onKeyReplacing === undefined) await bind([]);
    else await onKeyReplacing(subjectId, bind);
    this.#options.onKeyGiven?.(subjectId);
    const fields = { subject_id: subjectId, token_id: tokenId };
    if (before === undefined) {
      logger.info(`${subject} enrolled`, fields);
      return;
    }
    logger.warn(`${subject} enrolled again; its old key has ended`, fields);
    this.#options.onKeyEnded?.(subjectId);
  }

  #grantOf(authorization: string | undefined): Grant {
    if (bearerSecret(authorization) === undefined) {
      const expected = "expected Bearer and an enrolment token of `berth token create`";
      throw new BerthError("UNAUTHENTICATED", `authorization: ${expected}`);
    }
    const grant = this.#knownGrant(authorization);
    if (grant !== undefined) return grant;
    const message =
      "authorization: this enrolment token is not known or was revoked; make one with `berth token create`";
    throw new BerthError("UNAUTHENTICATED", message);
  }

  #knownGrant(authorization: string | undefined): Grant | undefined {
    const secret = bearerSecret(authorization);
    if (secret === undefined) return undefined;
    const secretSha256 = sha256Hex(secret);
    if (secretSha256 === this.#localSha256) return { kind: "local" };
    const token = this.#kept.tokenOfSecret(secretSha256);
    return token === undefined ? undefined : { kind: "kept", token };
  }

  #refuseSecond(before: StoredBinding | undefined, request: EnrolmentRequest): void {
    const { logger, subject } = this.#options;
    if (before === undefined) {
      if (this.#kept.bindingCount < MAX_BINDINGS) return;
      throw new BerthError("OVERLOADED", `${MAX_BINDINGS} ${subject}s are enrolled; remove some`);
    }
    const message = whySecond(before, request, subject);
    if (message === undefined) return;
    logger.warn(`a second ${subject} claims the id of the first`, {
      subject_id: request.subjectId,
      bound_identity: before.identity,
      claimed_identity: request.identity,
    });
    this.#options.onSecondRefused?.(request.subjectId, message);
    throw new BerthError("ALREADY_EXISTS", message);
  }

  /** The agent that has the key may still be there; only a token that was made for the very id does not mind. */
  #refuseReplacement(grant: Grant, request: EnrolmentRequest): void {
    const { subject, refuseReplacement } = this.#options;
    refuseRekey(grant, request, subject);
    if (grant.kind === "kept" && grant.token.subjectId === request.subjectId) return;
    const refusal = refuseReplacement?.(request.subjectId);
    if (refusal !== undefined) throw refusal;
  }

  #refuseSharedKey(keySha256: string, subjectId: string): void {
    const holder = this.#kept.bindingOfKey(keySha256);
    if (holder === undefined || holder.subjectId === subjectId) return;
    const { subject } = this.#options;
    const message = `key_sha256: this key is another ${subject}'s; give each its own data directory`;
    throw new BerthError("ALREADY_EXISTS", message);
  }

  /** Room for one more token: nothing, or with a full house the tokens that are of no use. */
  #tokensToDrop(): readonly StoredToken[] {
    if (this.#kept.tokenCount < MAX_TOKENS) return [];
    const now = this.#options.clock.timestamp();
    const useless = this.#kept.tokens().filter((token) => isSpent(token) || isPast(token, now));
    if (useless.length > 0) return useless;
    throw new BerthError("OVERLOADED", `there are ${MAX_TOKENS} enrolment tokens; revoke some`);
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      throw new BerthError("OVERLOADED", "too many enrolments at once; try again");
    }
    this.#waiting += 1;
    const done = this.#last.then(change).finally(() => {
      this.#waiting -= 1;
    });
    // The next one waits for this one, however it ends; its own caller hears how.
    this.#last = done.catch(() => undefined);
    return done;
  }
}

function toRecord({ secretSha256: _, ...record }: StoredToken): TokenRecord {
  return record;
}
