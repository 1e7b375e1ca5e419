/** What a system call failed with ("ENOENT"); undefined for other errors. */
export function errorCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}

/** Whether a file or folder is not there. */
export function isMissing(thrown: unknown): boolean {
  return errorCode(thrown) === "ENOENT";
}

const GONE = new Set(["ENOENT", "ESRCH", "EACCES", "EPERM"]);

/** Whether the kernel refused because a process is gone, or another user's. */
export function isGone(thrown: unknown): boolean {
  return GONE.has(errorCode(thrown) ?? "");
}
