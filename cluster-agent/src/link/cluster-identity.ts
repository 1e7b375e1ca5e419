import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { BerthError, type DocumentStore, isBerthError } from "@berth/service-kit";

/** Where the machine id is read from by default: machine-id(5). */
export const MACHINE_ID_FILE = "/etc/machine-id";

/**
 * What the cluster id is bound to with the process runtime: `<machine id>:<data-directory id>`. A machine
 * without a machine id gets a UUID that the store keeps.
 */
export async function processIdentity(
  store: DocumentStore,
  orgId: string,
  machineIdFile: string,
): Promise<string> {
  const machineId = (await readMachineId(machineIdFile)) ?? (await keptMachineId(store, orgId));
  return `${machineId}:${await store.storeId()}`;
}

async function readMachineId(file: string): Promise<string | undefined> {
  try {
    const text = (await readFile(file, "utf8")).trim();
    return /^[0-9a-f]{32}$/.test(text) ? text : undefined;
  } catch (thrown) {
    const { code } = thrown as { code?: unknown };
    if (code === "ENOENT" || code === "EACCES" || code === "ENOTDIR") return undefined;
    throw thrown;
  }
}

async function keptMachineId(store: DocumentStore, orgId: string): Promise<string> {
  const key = { orgId, collection: "link", id: "machine" };
  const kept = await store.get<{ machineId: string }>(key);
  if (kept !== undefined) return kept.body.machineId;
  const machineId = randomUUID();
  const outcome = await store.apply([{ kind: "insert", key, body: { machineId } }]);
  if (outcome.kind === "applied") return machineId;
  throw new BerthError("INTERNAL", `the machine id was not written: ${outcome.why}`);
}

/**
 * An identity that has to be asked for, such as that of a Kubernetes cluster: as it is told now, or as it was told before
 * when nobody answers. Rejects with UNAVAILABLE when it was never told.
 */
export async function askedIdentity(
  store: DocumentStore,
  orgId: string,
  ask: () => Promise<string>,
): Promise<string> {
  const key = { orgId, collection: "link", id: "cluster" };
  const kept = await store.get<{ identity: string }>(key);
  try {
    const identity = await ask();
    if (identity !== kept?.body.identity) {
      const body = { identity };
      const kind = kept === undefined ? "insert" : "replace";
      await store.apply([{ kind, key, body }]);
    }
    return identity;
  } catch (thrown) {
    const isAway = isBerthError(thrown) && thrown.reason === "UNAVAILABLE";
    if (!isAway || kept === undefined) throw thrown;
    return kept.body.identity;
  }
}
