/** Where a command writes: the part of a process's stdout or stderr that is used. */
export interface Output {
  /** Whether a person sees it at once; absent or false for files and pipes. */
  readonly isTTY?: boolean;
  /** Width of the terminal in characters, when it is one. */
  readonly columns?: number;
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
}
