import type { Limits } from "./limits.ts";
import type { PolicyCode } from "./policy.ts";

/** The answer of a host method; JSON texts cross without being parsed, so numbers stay exact. */
export type HostReply =
  /** One JSON text becomes the Python value. */
  | { readonly kind: "value"; readonly json: string }
  /** JSON texts become a Python tuple. */
  | { readonly kind: "tuple"; readonly items: readonly string[] }
  /**
   * An exception in the policy. `type` is the name of a builtin ("KeyError") or of a class of
   * `requests.exceptions` ("HTTPError"); any other name becomes a `RuntimeError` subclass of that name.
   */
  | { readonly kind: "raise"; readonly type: string; readonly message: string };

/**
 * A method that a policy calls synchronously. The arguments are the policy's, parsed from JSON: treat
 * them as hostile. The signal fires at the call's deadline and when the evaluation ends. A rejected
 * promise becomes a `RuntimeError` in the policy.
 */
export type HostMethod = (
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
) => HostReply | Promise<HostReply>;

/** A capability that the policy finds under its reserved name in `settings`. */
export interface HostClient {
  /** Present when the client itself can be called: `settings["get_metrics"]()`. */
  readonly callable?: HostMethod;
  readonly methods: Readonly<Record<string, HostMethod>>;
}

/** Which method of the policy runs. */
export type PolicyCall =
  | { readonly kind: "eval" }
  /** `management(action, data)`. */
  | { readonly kind: "management"; readonly action: string; readonly dataJson: string };

/** One JSON text; the same id, part name and version always mean the same text, for all of a tenant. */
export interface ResidentPart {
  readonly version: string | number;
  /** May be made when it is asked for: a worker that can be given edits is not given the text. */
  readonly json: string;
  /**
   * Edits that make the value of another version this one's: a JSON list of `[path, value]`, each path a list
   * of keys and indexes to a member that is set. Undefined when there are none, and the text is given.
   */
  readonly editsFrom?: (version: string | number) => string | undefined;
  /** A part of about the same size and the same depth, which is measured instead of this one's text. */
  readonly shapedLike?: ResidentPart;
}

/** A document that workers keep between evaluations, in parts that change apart from each other. */
export interface ResidentDocument {
  readonly id: string;
  readonly parts: Readonly<Record<string, ResidentPart>>;
}

/**
 * JSON documents that workers keep between evaluations, and where they appear in `input_data`. None of it may
 * be changed after it was handed over: what was learnt of a part is kept with the part object.
 */
export interface ResidentInput {
  /**
   * members: input_data (a JSON object, from `inputJson`) gets the key `key` = {id: {field: part, ...}} in the
   * order of `documents`, whatever `inputJson` has under that key; two fields may name one part and are then
   * the same Python object. list: input_data is the list of that part of each document, and `inputJson` must
   * be "null".
   */
  readonly shape:
    | {
        readonly kind: "members";
        readonly key: string;
        /** Field of the Python dict to name of the part. */
        readonly fields: Readonly<Record<string, string>>;
      }
    | { readonly kind: "list"; readonly part: string };
  /** The candidates, each id once; parts that the shape does not name are not sent. */
  readonly documents: readonly ResidentDocument[];
}

/** The JSON object that a policy finds as it left it, wherever its caller keeps it. */
export interface PolicyContext {
  /**
   * The object's JSON text as it is when the policy's turn has come; `{}` at first. It has `limits.wallMs` to
   * answer together with `resident` (`overloaded` when it does not), and what it rejects with, `evaluate` rejects with.
   */
  read(): Promise<string>;
  /**
   * Takes a changed context, before any other evaluation of the tenant reads. Only of an evaluation that
   * returned a result that counts (`accept`): one that raises, is killed or canceled writes nothing. Must not throw.
   */
  write(json: string): void;
}

/** One evaluation of one policy. */
export interface EvaluationRequest {
  /** Who trusts whom: organisation and policy name. Two tenants never share an interpreter. */
  readonly tenant: string;
  /** For messages and events, and names what a context belongs to. */
  readonly policyUri: string;
  readonly code: PolicyCode;
  /** JSON object. Clients are injected after it is parsed and win over keys of the same name. */
  readonly settingsJson: string;
  /** JSON value, given to the constructor and to `eval` as one Python object. */
  readonly parametersJson: string;
  /** JSON value: `input_data`. */
  readonly inputJson: string;
  /**
   * Documents that cross to a worker only when they have changed; not for `management`. A function is asked
   * when a worker is free, so that the policy sees what is known then and not when it was queued; it has
   * `limits.wallMs` to answer, and what it rejects with, `evaluate` rejects with. Its signal fires when that time
   * is over (the outcome is `overloaded` then) and when the request is canceled.
   */
  readonly resident?: ResidentInput | ((signal: AbortSignal) => Promise<ResidentInput>);
  /**
   * What the policy keeps between evaluations; an empty object of its own when absent, and not for `management`.
   *
   * A tenant that keeps something runs one evaluation at a time, so no update is lost: from the first time
   * that it is seen to, and before anything is known of a policy (by its URI), until one of its evaluations has
   * returned and left an empty context empty. So what can overlap are evaluations of a policy that first keeps
   * nothing and starts later: of those that run when it first writes, the last to end wins.
   */
  readonly context?: PolicyContext;
  /**
   * Whether the result counts; asked once, within the policy's turn, of an evaluation that returned, before a
   * changed context is written: of a result that does not count the context is not kept. Given the outcome's
   * `resultJson`, also without a context. Must not throw.
   */
  readonly accept?: (resultJson: string) => boolean;
  /** The whole of `os.environ`; empty when absent. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly clients?: Readonly<Record<string, HostClient>>;
  readonly limits: Limits;
  /** Cancels a queued evaluation and kills a running one. */
  readonly signal?: AbortSignal;
  /** `{kind: "eval"}` when absent. */
  readonly call?: PolicyCall;
}
