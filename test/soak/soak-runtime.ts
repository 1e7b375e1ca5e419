import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** Nodes of a run's agent: "node-0" and on. */
export const SOAK_NODES = 3;

/** Where the instances of a run are run, and what is seen of them from outside. */
export interface SoakRuntime {
  /** Settings of the agent. */
  readonly env: Readonly<Record<string, string>>;
  /** `component.containerRegistryInfo` of a program that does nothing for a while. */
  readonly program: object;
  /** `block/instance` of each instance that runs. */
  running(): Promise<readonly string[]>;
  /** Longest time for which nothing may change before there is rest; 60 s by default. */
  readonly stillLimitMs?: number;
  /** Lines on what is there, for people who look into a run that did not hold. */
  look?(): Promise<readonly string[]>;
  /** Does some harm to what runs, or to what runs it, while an agent lives; gives what, for people. */
  harm?(random: () => number): Promise<string>;
  /** Is told after each end of an agent. */
  buried?(): Promise<void>;
  dispose(): Promise<void>;
}

const IDLE = ["/bin/sh", "-c", "exec sleep 900"];

/** Processes of this machine: those that carry the marks of the agent's directory. */
export function processSoakRuntime(dataDir: string): SoakRuntime {
  const directory = path.join(dataDir, "processes");
  return {
    env: {},
    program: { command: IDLE },
    running: async () => {
      return markedBy(directory).map(({ variables }) => {
        return `${variable(variables, "BLOCK_ID")}/${variable(variables, "INSTANCE_ID")}`;
      });
    },
    dispose: async () => {
      for (const { pid } of markedBy(directory)) process.kill(pid, "SIGKILL");
    },
  };
}

function markedBy(
  directory: string,
): readonly { readonly pid: number; readonly variables: readonly string[] }[] {
  const id = textOf(path.join(directory, "runtime-id")).trim();
  if (id === "") return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && !/\) [ZX]/.test(textOf(`/proc/${name}/stat`)))
    .map((pid) => ({ pid: Number(pid), variables: textOf(`/proc/${pid}/environ`).split("\0") }))
    .filter(({ variables }) => variables.includes(`BERTH_RUNTIME_ID=${id}`));
}

function variable(variables: readonly string[], name: string): string {
  return variables.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
