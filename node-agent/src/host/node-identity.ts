import { readFile } from "node:fs/promises";
import os from "node:os";
import { within } from "./within.ts";

const READ_LIMIT_MS = 3_000;
const MAX_NODE_ID_LENGTH = 253;

/** Machine id and boot id as the kernel and systemd keep them (machine-id(5), random(4)). */
export interface Identity {
  readonly machineId: string;
  /** Another one after each boot; "" where the kernel has none. */
  readonly bootId: string;
}

/**
 * Reads who this machine is. Without a usable /etc/machine-id (some containers) it is `fallback`;
 * without a boot id (not Linux) that stays empty.
 */
export async function readIdentity(fallback: string): Promise<Identity> {
  const [machine, boot] = await Promise.all([
    within(readFile("/etc/machine-id", "utf8"), READ_LIMIT_MS),
    within(readFile("/proc/sys/kernel/random/boot_id", "utf8"), READ_LIMIT_MS),
  ]);
  return { machineId: machineIdOf(machine) ?? fallback, bootId: boot?.trim() ?? "" };
}

/** The id in the text of /etc/machine-id; undefined for "uninitialized", empty and anything else. */
export function machineIdOf(text: string | undefined): string | undefined {
  const id = text?.trim();
  return id !== undefined && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}

/** Node id of this machine when none is set: its host name in the letters that a node id may have. */
export function defaultNodeId(hostname: string = os.hostname()): string {
  const id = hostname
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, "-")
    .slice(0, MAX_NODE_ID_LENGTH)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return id === "" ? "node" : id;
}
