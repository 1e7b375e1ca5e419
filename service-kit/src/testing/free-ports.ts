import { once } from "node:events";
import { createServer } from "node:net";

/** Below the range from which systems take the ports of outgoing connections (Linux: 32768 and above). */
const FIRST_PORT = 15_000;
const STRETCH = 64;
const STRETCHES = 256;

let stretch: Promise<number> | undefined;
let taken = 0;

/**
 * Ports of 127.0.0.1 on which nothing listens, all different, for programs that a test starts later. They
 * come from a stretch that this process has for itself as long as it lives: no outgoing connection and no
 * other test's process takes them in between.
 */
export async function freePorts(count: number): Promise<number[]> {
  stretch ??= ownStretch();
  const first = await stretch;
  const ports: number[] = [];
  for (let tries = 0; ports.length < count && tries < STRETCH; tries += 1) {
    taken = (taken % (STRETCH - 1)) + 1;
    if (await isFree(first + taken)) ports.push(first + taken);
  }
  if (ports.length < count) throw new Error(`${count} free ports, of those after ${first}`);
  return ports;
}

/** One of {@link freePorts}. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** First port of a stretch: who listens on it has the stretch. */
async function ownStretch(): Promise<number> {
  const start = process.pid % STRETCHES;
  for (let step = 0; step < STRETCHES; step += 1) {
    const first = FIRST_PORT + ((start + step) % STRETCHES) * STRETCH;
    const claim = await listen(first);
    if (claim === undefined) continue;
    claim.unref();
    return first;
  }
  throw new Error("a stretch of ports that no other process has");
}

async function isFree(port: number): Promise<boolean> {
  const probe = await listen(port);
  if (probe === undefined) return false;
  await once(probe.close(), "close");
  return true;
}

async function listen(port: number) {
  const server = createServer();
  try {
    await once(server.listen(port, "127.0.0.1"), "listening");
    return server;
  } catch {
    return;
  }
}
