import { createServer, type Server } from "node:net";
import { BerthError } from "@berth/service-kit";
import { errorCode } from "./error-code.ts";

/**
 * Keeps others of this machine from running the instances of the same data directory (or of a copy of it): two would
 * each start what the other has ended. It is a socket in Linux's abstract namespace: the end of the agent, by whatever,
 * gives it back. Rejects with CONFLICT when somebody has it.
 */
export async function lockRuntime(
  runtimeId: string,
  dataDir: string,
): Promise<() => Promise<void>> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(refused(error, dataDir)));
    server.listen({ path: `\0berth-runtime-${runtimeId}` }, resolve);
  });
  server.unref();
  return () => closed(server);
}

function refused(error: Error, dataDir: string): Error {
  if (errorCode(error) !== "EADDRINUSE") return error;
  return new BerthError(
    "CONFLICT",
    `another agent runs the instances of the data directory ${dataDir}, or of a copy of it: stop that one, or give this one another directory`,
    { cause: error },
  );
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
