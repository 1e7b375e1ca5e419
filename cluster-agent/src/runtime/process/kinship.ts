import type { InstanceState, KnownProcess } from "./instance-record.ts";
import { isEnded, type ProcessMarks, type ProcessStat } from "./proc-text.ts";

/** A living process, with what its environment says of us. */
export interface ProcessEntry extends ProcessStat {
  /** Absent when its environment has none, or may not be read. */
  readonly marks: ProcessMarks | undefined;
}

/** By what the processes of an instance are told from all others. */
export interface Kin {
  readonly runtimeId: string;
  /** "block/instance". */
  readonly instance: string;
  /**
   * Processes that have been seen to be the instance's: they stay it when they overwrite their environment. Those that
   * have ended make known who is left of their sessions.
   */
  readonly known: readonly KnownProcess[];
}

/** Whether two describe the same process of this boot. */
export function isSameProcess(a: KnownProcess, b: KnownProcess): boolean {
  return a.pid === b.pid && a.startTicks === b.startTicks;
}

/** The processes of one moment, laid out so that those of an instance are found without going through all. */
export class ProcessLook {
  readonly #byPid = new Map<number, ProcessEntry>();
  readonly #byMark = new Map<string, ProcessEntry[]>();
  readonly #byParent = new Map<number, ProcessEntry[]>();
  readonly #bySession = new Map<number, ProcessEntry[]>();

  constructor(entries: readonly ProcessEntry[]) {
    for (const entry of entries) {
      this.#byPid.set(entry.pid, entry);
      if (isEnded(entry)) continue;
      const { marks, parentPid, sessionId } = entry;
      if (marks) this.#byMark.getOrInsert(markOf(marks), []).push(entry);
      this.#byParent.getOrInsert(parentPid, []).push(entry);
      this.#bySession.getOrInsert(sessionId, []).push(entry);
    }
  }

  /**
   * The living processes of an instance: those whose environment or identity says so, those in a session that one of
   * them leads or one that is known led, and the children of all these. A child that was there before its parent is the
   * child of an earlier process with the same id, and none of ours.
   */
  processesOf(kin: Kin): ProcessEntry[] {
    const ours = new Map<number, ProcessEntry>();
    const found = (entry: ProcessEntry) => ours.set(entry.pid, entry);
    this.#byMark.get(markOf(kin))?.forEach(found);
    for (const known of kin.known) {
      const holder = this.#byPid.get(known.pid);
      // The kernel gives a number to nobody else while it is still the id of a session.
      if (holder !== undefined && !isSameProcess(holder, known)) continue;
      if (holder !== undefined && !isEnded(holder)) found(holder);
      this.membersOf(known).forEach(found);
    }
    // A Map's iteration goes on to what is added meanwhile.
    for (const relative of ours.values()) {
      this.#since(relative, this.#byParent).forEach(found);
      this.membersOf(relative).forEach(found);
    }
    return [...ours.values()];
  }

  /** The living processes of the session that a process leads or led, and that is its: itself too. */
  membersOf(leader: KnownProcess): readonly ProcessEntry[] {
    return this.#since(leader, this.#bySession);
  }

  #since(
    relative: KnownProcess,
    index: ReadonlyMap<number, readonly ProcessEntry[]>,
  ): readonly ProcessEntry[] {
    const entries = index.get(relative.pid) ?? [];
    return entries.filter(({ startTicks }) => relative.startTicks <= startTicks);
  }
}

function markOf({ runtimeId, instance }: Pick<Kin, "runtimeId" | "instance">): string {
  return `${runtimeId} ${instance}`;
}

/** {@link ProcessLook.processesOf} for one instance of a look. */
export function instanceProcesses(entries: readonly ProcessEntry[], kin: Kin): ProcessEntry[] {
  return new ProcessLook(entries).processesOf(kin);
}

/**
 * What of an instance is to be known at the next look: each process that lives, and those that have ended and left
 * others in their session, who may have children there still.
 */
export function rememberedKin(look: ProcessLook, kin: Kin): RememberedKin {
  const living = look.processesOf(kin);
  const ended = kin.known.filter(
    (known) =>
      !living.some((entry) => isSameProcess(entry, known)) &&
      living.some(({ sessionId }) => sessionId === known.pid),
  );
  const all = [...ended, ...living].map(({ pid, startTicks }) => ({ pid, startTicks }));
  const isMarked = ({ pid }: KnownProcess) =>
    living.some(({ pid: own, marks }) => own === pid && marks && markOf(marks) === markOf(kin));
  return { all, unmarked: all.filter((known) => !isMarked(known)) };
}

/** Processes of an instance. */
export interface RememberedKin {
  readonly all: readonly KnownProcess[];
  /** Those that nothing but this memory may tell. */
  readonly unmarked: readonly KnownProcess[];
}

/**
 * The process that was started as the instance, among its processes: the recorded one, or, when the record was cut
 * off, the oldest leader of a session that carries the mark of this start. Undefined when that one has ended.
 */
export function mainProcess(
  processes: readonly ProcessEntry[],
  state: InstanceState | undefined,
): ProcessEntry | undefined {
  if (state === undefined) return undefined;
  const recorded = state.process;
  if (recorded !== undefined) return processes.find((entry) => isSameProcess(entry, recorded));
  return processes
    .filter(({ marks, pid, sessionId }) => marks?.startId === state.startId && sessionId === pid)
    .sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid)[0];
}

/** Names ("block/instance") that living processes of a runtime carry. */
export function markedInstances(entries: readonly ProcessEntry[], runtimeId: string): string[] {
  const names = entries.flatMap((entry) => {
    const isOurs = entry.marks?.runtimeId === runtimeId && !isEnded(entry);
    return isOurs && entry.marks ? [entry.marks.instance] : [];
  });
  return [...new Set(names)];
}
