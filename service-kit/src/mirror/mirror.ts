/** One small JSON document. */
export interface MirrorEntry {
  /** 1-500 visible ASCII characters. */
  readonly key: string;
  /** Rises with each change of the key; a safe integer of 0 or more. */
  readonly revision: number;
  /** JSON; undefined: removed. */
  readonly body: unknown;
}

/** What a mirror has, place by place. */
export interface MirrorCopies {
  /** One a place, the shared one first. */
  readonly copies: readonly (readonly MirrorEntry[])[];
  /** Every place could be had. */
  readonly isWhole: boolean;
}

/** For readiness and doctor. */
export interface MirrorStatus {
  /** "none" when there is no Redis, only a file of this machine. */
  readonly driver: "none" | "redis";
  readonly isConnected: boolean;
  /** How many keys are not there yet. */
  readonly pending: number;
  /** What is missing, without secrets. */
  readonly why?: string;
}

/** Says why nothing may be written, by what a shared mirror has under a key; undefined: it may. */
export interface MirrorGuard {
  readonly key: string;
  readonly refusal: (entry: MirrorEntry | undefined) => string | undefined;
}

/** A written-through copy of small JSON documents, never the truth. */
export interface Mirror {
  /**
   * Notes what shall be there; returns at once. The newest revision of a key wins, older ones are dropped,
   * also when they come from another process. Written in the background, retried until it is there.
   * Throws INVALID_ARGUMENT for a wrong key, revision or body, and OVERLOADED beyond 100,000 keys or 128 MiB.
   */
  put(entry: MirrorEntry): void;
  /**
   * What the mirror has of the keys that begin with `prefix`, sorted by key; removed ones stay for a day,
   * without a body. Rejects UNAVAILABLE when it cannot be had within 2 s.
   */
  read(prefix: string): Promise<readonly MirrorEntry[]>;
  /**
   * What each place has that it writes to, by itself: they may be of different histories. A place that cannot be had now is left
   * out. Rejects UNAVAILABLE when none can.
   */
  copies(): Promise<MirrorCopies>;
  readonly status: MirrorStatus;
  /**
   * Has nothing written to what is shared while the guard gives a reason, which is in `status` then: it may be somebody else's. Asked at each
   * connection, and every few seconds while it refuses.
   */
  guard(guard: MirrorGuard): void;
  /** Resolves when all that was put so far is there, or the signal is aborted. */
  settled(signal: AbortSignal): Promise<void>;
  /** Ends it; what is not there by then is given up after 2 s. May be called again. */
  close(): Promise<void>;
}
