import { readdir, readlink } from "node:fs/promises";
import path from "node:path";
import { isGone } from "./error-code.ts";
import type { KnownProcess } from "./instance-record.ts";
import type { ProcessEntry } from "./kinship.ts";
import { parseListening } from "./proc-text.ts";
import { readIfAllowed } from "./process-table.ts";

/** Whose the listener on a port may be. */
export interface PortQuestion {
  readonly port: number;
  /** The process that was started as the instance. */
  readonly main: KnownProcess;
  /** All processes of the instance. */
  readonly ours: readonly ProcessEntry[];
  /** All processes of the machine. */
  readonly all: readonly ProcessEntry[];
}

/**
 * The process outside of the instance that listens on its port, and was there before the instance: then the instance
 * cannot have the port. Undefined when the listener is the instance's, or cannot be seen, or is younger: a program may
 * have somebody else listen for it.
 */
export async function strangerOnPort(question: PortQuestion): Promise<ProcessEntry | undefined> {
  const { port, main, ours, all } = question;
  const inodes = await listenersOn(port);
  if (inodes.size === 0 || (await firstHolder(ours, inodes)) !== undefined) return undefined;
  const older = all.filter(
    (entry) => entry.startTicks < main.startTicks && !ours.some(({ pid }) => pid === entry.pid),
  );
  return await firstHolder(older, inodes);
}

async function listenersOn(port: number): Promise<ReadonlySet<string>> {
  const texts = await Promise.all(["/proc/net/tcp", "/proc/net/tcp6"].map(readIfAllowed));
  const sockets = texts.flatMap(parseListening).filter((socket) => socket.port === port);
  return new Set(sockets.map(({ inode }) => `socket:[${inode}]`));
}

async function firstHolder(
  entries: readonly ProcessEntry[],
  sockets: ReadonlySet<string>,
): Promise<ProcessEntry | undefined> {
  for (const entry of entries) {
    const held = await linksOf(`/proc/${entry.pid}/fd`);
    if (held.some((link) => sockets.has(link))) return entry;
  }
  return undefined;
}

/** What the descriptors of a process are; empty when it is gone, or another user's. */
async function linksOf(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return await Promise.all(names.map((name) => linkOf(path.join(folder, name))));
  } catch (thrown) {
    if (isGone(thrown)) return [];
    throw thrown;
  }
}

async function linkOf(file: string): Promise<string> {
  try {
    return await readlink(file);
  } catch (thrown) {
    if (isGone(thrown)) return "";
    throw thrown;
  }
}
