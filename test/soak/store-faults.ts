import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

const STORE = "cluster.db";

/** Copies the store of an agent that does not run. */
export function copyStore(dataDir: string, copy: string): void {
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy);
  for (const name of storeFiles(dataDir)) {
    copyFileSync(path.join(dataDir, name), path.join(copy, name));
  }
}

/** Puts an older copy of the store in its place, as a backup is restored. Nothing happens without a copy. */
export function restoreStore(dataDir: string, copy: string): boolean {
  if (!existsSync(copy)) return false;
  for (const name of storeFiles(dataDir)) rmSync(path.join(dataDir, name));
  for (const name of storeFiles(copy)) {
    copyFileSync(path.join(copy, name), path.join(dataDir, name));
  }
  return true;
}

/** Loses all that the ledger wrote, of an agent that does not run. */
export function loseLedger(dataDir: string): void {
  const file = path.join(dataDir, STORE);
  if (!existsSync(file)) return;
  const database = new DatabaseSync(file);
  database.exec("DELETE FROM documents WHERE collection IN ('ledger', 'ledger_nodes')");
  database.close();
}

function storeFiles(directory: string): readonly string[] {
  return readdirSync(directory).filter((name) => name.startsWith(STORE));
}
