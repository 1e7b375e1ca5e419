/** What the policy raised, told from the policy's own frames. */
export interface PolicyError {
  /** Class name ("KeyError", "SystemExit"). */
  readonly type: string;
  /** `str(exception)`, at most 2,000 characters. */
  readonly message: string;
  /** The innermost file of the policy ("function.py", "helpers.py"); null when no frame is the policy's. */
  readonly file: string | null;
  /** 1-based line in `file`. */
  readonly line: number | null;
  /** Python's traceback reduced to the policy's frames, at most 8,000 characters. */
  readonly traceback: string;
}

/** What every evaluation that reached a worker tells. */
export interface EvaluationFacts {
  /** stdout, stderr and logging of the policy, apart from the result. */
  readonly log: string;
  readonly logTruncated: boolean;
  /** From the moment a worker took the evaluation; queueing excluded. */
  readonly wallMs: number;
  /** CPU time of the interpreter's thread. */
  readonly cpuMs: number;
  /** Time spent waiting for a worker. */
  readonly queuedMs: number;
  /** True when the policy had to be loaded for this evaluation (no instance was resident). */
  readonly coldStart: boolean;
  /**
   * True when the policy worked on copies of the resident documents of its own: because its code is new, or
   * because it changes them. False when the request has no residents: then the whole input is its own.
   */
  readonly inputCopied: boolean;
  /** True when this code was seen to change resident documents, now or earlier: it gets copies from then on. */
  readonly inputChanged: boolean;
}

/** Why a worker ended under an evaluation; `host_calls`: it went on long after `Limits.hostCalls`. */
export type CrashCause = "memory" | "exit" | "trap" | "protocol" | "host_calls" | "spawn";

/** How an evaluation ended. Only the first kind is a result; none of the others is thrown. */
export type EvaluationOutcome =
  | ({
      readonly kind: "returned";
      /** JSON text as Python wrote it: 10.0 stays 10.0, big integers are exact. */
      readonly resultJson: string;
      /** The context's JSON text when the policy changed it, else null. */
      readonly contextJson: string | null;
    } & EvaluationFacts)
  | ({ readonly kind: "raised"; readonly error: PolicyError } & EvaluationFacts)
  | ({
      readonly kind: "timed_out";
      readonly limit: "wall" | "cpu";
      readonly limitMs: number;
    } & EvaluationFacts)
  | ({
      readonly kind: "crashed";
      readonly cause: CrashCause;
      readonly message: string;
    } & EvaluationFacts)
  | ({
      readonly kind: "invalid_result";
      /** Where ("result.gpus[1]", "context.seen"). */
      readonly path: string;
      readonly message: string;
    } & EvaluationFacts)
  /** The caller's request cannot be evaluated; `message` names the field. */
  | { readonly kind: "invalid_input"; readonly message: string }
  | { readonly kind: "overloaded"; readonly message: string }
  | { readonly kind: "canceled" };

/** One reason why code is refused as a policy. */
export interface PolicyProblem {
  readonly code: "syntax_error" | "missing_entry" | "missing_class" | "missing_eval";
  readonly message: string;
  /** Path inside the archive. */
  readonly file: string;
  /** 1-based. */
  readonly line: number | null;
  /** 1-based. */
  readonly column: number | null;
  /** The offending source line. */
  readonly text: string | null;
}

/** An import that the sandbox cannot resolve. A warning: it may stand inside try/except. */
export interface UnresolvedImport {
  readonly module: string;
  readonly file: string;
  readonly line: number;
}

/** What `Sandbox.check` found, without running the code. */
export type CheckOutcome =
  | { readonly kind: "ok"; readonly unresolvedImports: readonly UnresolvedImport[] }
  | {
      readonly kind: "refused";
      readonly problems: readonly PolicyProblem[];
      readonly unresolvedImports: readonly UnresolvedImport[];
    }
  /** No worker could look at the code (overload, crash, closed). */
  | { readonly kind: "unavailable"; readonly message: string };

/** What `Sandbox.unpack` found in an archive. */
export type UnpackOutcome =
  | {
      readonly kind: "unpacked";
      /** "code/function.py" and its siblings, and "policy.yaml" where there is one, to their UTF-8 text. */
      readonly files: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "refused";
      readonly reason:
        | "too_large"
        | "not_an_archive"
        | "corrupt"
        | "too_many_files"
        | "unsafe_path"
        | "unsafe_entry"
        | "not_text"
        | "missing_entry";
      readonly message: string;
    }
  /** No worker could look at the archive (overload, crash, closed). */
  | { readonly kind: "unavailable"; readonly message: string };
