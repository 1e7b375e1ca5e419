/** A message as a subscriber sees it. */
export interface BusMessage {
  readonly subject: string;
  readonly text: string;
  /** How often it was handed over before, 0 at first. */
  readonly redeliveries: number;
}

/** What is published. */
export interface OutgoingMessage {
  /** Tokens of 1-200 characters with dots between them, without wildcards. */
  readonly subject: string;
  /** At most 512 KiB of UTF-8. */
  readonly text: string;
  /** The same when the same message is published again: it is then handed over once. */
  readonly id?: string;
}

/** Takes a message; when it throws or rejects, the message comes again. */
export type BusHandler = (message: BusMessage) => void | Promise<void>;

/** What is subscribed to. */
export interface SubscribeOptions {
  /** As in publish; `*` stands for one token, a last `>` for one or more. */
  readonly subject: string;
  /** Makes it durable where the driver is: what came while nobody listened comes later. */
  readonly name?: string;
  readonly handler: BusHandler;
  /**
   * Most messages that are handled side by side, 1 by default. More than that begin in order (over a NATS stream in about that) and
   * may end in another; after the end of a program or a server those that were under way come again.
   */
  readonly atOnce?: number;
}

/** A subscription that listens. */
export interface BusSubscription {
  /**
   * Ends it: no message is handed over from now on. Resolves when the running handler has ended, after
   * 5 s at the latest.
   */
  stop(): Promise<void>;
}

/** For readiness and doctor. */
export interface BusStatus {
  readonly driver: "in_process" | "nats";
  readonly isConnected: boolean;
  /** What is missing, without secrets. */
  readonly why?: string;
}

/**
 * Messages between programs. Every subscription gets every message, in the order of publisher and
 * subject; one that is slow or fails holds up neither others nor the publisher.
 */
export interface Bus {
  /**
   * Resolves when the driver has taken the message: in process, in the queues of all subscribers; NATS,
   * acknowledged by JetStream, or flushed where there is no stream. Rejects INVALID_ARGUMENT for a wrong
   * subject or id, PAYLOAD_TOO_LARGE, OVERLOADED when a queue is full (then nobody gets it), CANCELED
   * when the signal is aborted, and UNAVAILABLE when it cannot be had within 5 s; the caller publishes
   * again.
   */
  publish(message: OutgoingMessage, signal?: AbortSignal): Promise<void>;
  /**
   * Hands messages over one after the other, in order, unless `atOnce` allows more. One whose handler rejects comes again after a
   * backoff (250 ms doubling to 30 s), before later ones; after 10 times it is logged and dropped.
   * Resolves when listening; rejects INVALID_ARGUMENT for a wrong subject or name, and UNAVAILABLE
   * after {@link close}. When the server is away it resolves after 5 s at the latest and listens as soon as
   * the server comes.
   */
  subscribe(options: SubscribeOptions): Promise<BusSubscription>;
  readonly status: BusStatus;
  /** Ends all subscriptions and the connection. May be called again. */
  close(): Promise<void>;
}
