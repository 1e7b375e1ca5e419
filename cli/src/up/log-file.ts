import { appendFileSync, closeSync, fstatSync, openSync, renameSync } from "node:fs";
import { messageOf } from "../cli-error.ts";

/** Size at which a log file is put aside, in bytes. */
export const LOG_LIMIT_BYTES = 10 * 1024 * 1024;

/**
 * Log of one program: appended to line by line, put aside as `<path>.1` when it is full, one old file
 * kept, so that it takes at most twice its limit. Writes are synchronous: nothing queues up in memory.
 * A disk that refuses a write loses lines, never the program: the loss is told once through `onError`.
 */
export class LogFile {
  readonly path: string;
  readonly #limitBytes: number;
  readonly #onError: (message: string) => void;
  #file: number;
  #size: number;
  #failing = false;

  /** Opens or creates the file (mode 0600); throws when it cannot be opened. */
  constructor(path: string, onError: (message: string) => void, limitBytes = LOG_LIMIT_BYTES) {
    this.path = path;
    this.#onError = onError;
    this.#limitBytes = limitBytes;
    this.#file = openSync(path, "a", 0o600);
    this.#size = fstatSync(this.#file).size;
  }

  /** Appends one line. */
  write(line: string): void {
    const text = `${line}\n`;
    const bytes = Buffer.byteLength(text);
    try {
      if (this.#size > 0 && this.#size + bytes > this.#limitBytes) this.#rotate();
      appendFileSync(this.#file, text);
      this.#size += bytes;
      this.#failing = false;
    } catch (thrown) {
      if (!this.#failing) this.#onError(`${this.path}: lines are lost: ${messageOf(thrown)}`);
      this.#failing = true;
    }
  }

  /** Closes the file; nothing may be written after. */
  close(): void {
    closeSync(this.#file);
  }

  #rotate(): void {
    renameSync(this.path, `${this.path}.1`);
    const next = openSync(this.path, "a", 0o600);
    closeSync(this.#file);
    this.#file = next;
    this.#size = 0;
  }
}
