import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { SmiCommand } from "../gpu/smi-process.ts";
import { FAKE_NVIDIA_SMI_PATH } from "./fake-nvidia-smi-path.ts";

/** A fake nvidia-smi under a test's control. */
export interface FakeSmiRun {
  /** How to start it. */
  readonly smi: SmiCommand;
  /** Environment that makes it play what this object says. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Changes what it plays, from its next round on. */
  play(profile: string, fault?: string): Promise<void>;
  /** What was asked of it so far, in order: list (CSV once), loop, xml, topo, uuids. */
  calls(): Promise<string[]>;
  /** Process ids of all that were started. */
  pids(): Promise<number[]>;
  /** Those of them that still run. */
  alive(): Promise<number[]>;
  /** Kills what still runs and removes the files. */
  dispose(): Promise<void>;
}

/** Prepares a fake nvidia-smi that plays `profile` with `fault`. */
export async function fakeSmiRun(profile: string, fault = "none"): Promise<FakeSmiRun> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "berth-fake-smi-"));
  const control = path.join(folder, "control");
  const pidFile = path.join(folder, "pids");
  const callFile = path.join(folder, "calls");
  const play = (nextProfile: string, nextFault = "none") =>
    writeFile(control, `${nextProfile} ${nextFault}`);
  await Promise.all([
    play(profile, fault),
    ...[pidFile, callFile].map((file) => writeFile(file, "")),
  ]);
  const env = {
    ...process.env,
    FAKE_SMI_CONTROL: control,
    FAKE_SMI_PIDS: pidFile,
    FAKE_SMI_CALLS: callFile,
  };
  const linesOf = async (file: string) => {
    const text = await readFile(file, "utf8");
    return text.split("\n").filter(Boolean);
  };
  const pids = async () => (await linesOf(pidFile)).map(Number);
  const alive = async () => (await pids()).filter(isRunning);
  return {
    smi: { command: FAKE_NVIDIA_SMI_PATH, env },
    env,
    play,
    calls: () => linesOf(callFile),
    pids,
    alive,
    dispose: async () => {
      for (const pid of await alive()) process.kill(pid, "SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
