import {
  type Fingerprint,
  FingerprintSchema,
  type GpuSample,
  type HealthReport,
  type HostSample,
  type NodeReportRequest,
  NodeReportRequestSchema,
  Quality,
} from "@berth/proto";
import { create, equals } from "@bufbuild/protobuf";

/** The parts of a report, by what they say; `details` are those of the GPUs, within their samples. */
export type ReportPart = "fingerprint" | "host" | "gpus" | "details" | "health";

/** Where the parts come from when a message is written. */
export interface ReportContent {
  /** The same object while it has not changed; never changed itself. */
  fingerprint(): Fingerprint;
  host(): HostSample | undefined;
  /**
   * With details, which are taken out again where they have not changed. Those of quality `UNSPECIFIED`
   * are not sent: no reading yet is no news of a GPU.
   */
  gpus(): GpuSample[];
  health(): HealthReport;
}

/** What a {@link ReportSender} works with. */
export interface ReportSenderOptions {
  readonly registrationId: string;
  /** The fingerprint that the registration carried. */
  readonly registered: Fingerprint;
  readonly content: ReportContent;
  /** Hands one message to the stream and calls `sent` when the transport has taken it. */
  readonly write: (message: NodeReportRequest, sent: () => void) => void;
}

/**
 * Sends what changed, newest values only. Nothing is queued: a part that changes while a message is
 * on its way is only marked, and its value is read when the next message is written. So a slow link
 * holds one message, and ages are those of the moment of writing.
 */
export class ReportSender {
  readonly #options: ReportSenderOptions;
  readonly #changed = new Set<ReportPart>();
  #fingerprint: Fingerprint;
  #busy = false;
  #streamSeq = 0n;
  /** Details were held back with samples that are not sent. */
  #owesDetails = false;

  constructor(options: ReportSenderOptions) {
    this.#options = options;
    this.#fingerprint = options.registered;
  }

  /** Says that parts have changed; they are sent now, or as soon as the stream takes more. */
  mark(...parts: readonly ReportPart[]): void {
    for (const part of parts) this.#changed.add(part);
    this.#send();
  }

  #send(): void {
    if (this.#busy || this.#changed.size === 0) return;
    const message = this.#compose();
    this.#changed.clear();
    if (message === undefined) return;
    this.#busy = true;
    this.#options.write(message, () => {
      this.#busy = false;
      this.#send();
    });
  }

  #compose(): NodeReportRequest | undefined {
    const { content, registrationId } = this.#options;
    // A round of GPUs is only understood together with the set it belongs to.
    const parts = ["gpus", "details", "fingerprint"] as const;
    const looksAtGpus = parts.some((part) => this.#changed.has(part));
    const fingerprint = looksAtGpus ? this.#newFingerprint() : undefined;
    const host = this.#changed.has("host") ? content.host() : undefined;
    const gpus = this.#gpus();
    const health = this.#changed.has("health") ? content.health() : undefined;
    const hasParts = fingerprint !== undefined || host !== undefined || health !== undefined;
    if (!hasParts && gpus.length === 0) return undefined;
    this.#streamSeq += 1n;
    return create(NodeReportRequestSchema, {
      registrationId,
      streamSeq: this.#streamSeq,
      gpus,
      ...(fingerprint === undefined ? {} : { fingerprint }),
      ...(host === undefined ? {} : { host }),
      ...(health === undefined ? {} : { health }),
    });
  }

  /** Details change once a minute, and with MIG parts or many programs outweigh the samples. */
  #gpus(): GpuSample[] {
    const isAsked = this.#changed.has("details");
    if (!isAsked && !this.#changed.has("gpus")) return [];
    const all = this.#options.content.gpus();
    const samples = all.filter(({ quality }) => quality !== Quality.UNSPECIFIED);
    const withDetails = isAsked || this.#owesDetails;
    this.#owesDetails = withDetails && samples.length < all.length;
    if (!withDetails) for (const sample of samples) delete sample.details;
    return samples;
  }

  #newFingerprint(): Fingerprint | undefined {
    const current = this.#options.content.fingerprint();
    if (current === this.#fingerprint) return undefined;
    const isSame = equals(FingerprintSchema, this.#fingerprint, current);
    this.#fingerprint = current;
    if (isSame) return undefined;
    return current;
  }
}
