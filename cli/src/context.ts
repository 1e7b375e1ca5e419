/** Where a command writes: the part of a process's stdout or stderr that is used. */
export interface Output {
  /** Whether a person sees it at once; absent or false for files and pipes. */
  readonly isTTY?: boolean;
  /** Width of the terminal in characters, when it is one. */
  readonly columns?: number;
  /** Height of the terminal in lines, when it is one. */
  readonly rows?: number;
  write(text: string): unknown;
}

/** What the command line has from its process; `main.ts` passes the real one, tests their own. */
export interface CliContext {
  /** Arguments after the program's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute path of the working directory. */
  readonly cwd: string;
  /** Node binary that runs the programs. */
  readonly execPath: string;
  /** Id of this process, for people. */
  readonly pid: number;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Sends a signal to a process, or with a negative number to a process group, as process.kill. */
  kill(pid: number, signal: NodeJS.Signals): void;
  /** Calls back whenever the user asks to stop; repeated requests call again. */
  onStopRequest(listener: () => void): void;
  /** Calls back when standard output takes no more: its reader left (EPIPE), its disk is full. */
  onOutputClosed(listener: (why: Error) => void): void;
  /** Calls back whenever the terminal has another size, until the function that it gives is called. */
  onResize(listener: () => void): () => void;
  /**
   * Calls back with every piece that is typed, which the terminal then neither shows nor obeys (Ctrl-C is
   * "\u0003"), until the function that it gives is called. Never calls back without a terminal.
   */
  onKeys(listener: (text: string) => void): () => void;
}
