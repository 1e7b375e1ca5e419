/** Environment variable that a runtime gives every program of an instance. */
const VARIABLE = "BERTH_INSTANCE_ID=";

const ID_FORM = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const CGROUP_FORM = /^berth-instance-(.+?)(?:\.(?:scope|service|slice))?$/;

/** The instance in the environment of a program (/proc/<pid>/environ, proc(5)); "" where none is named. */
export function instanceOfEnvironment(environ: string): string {
  const entry = environ.split("\0").find((one) => one.startsWith(VARIABLE));
  return idOf(entry?.slice(VARIABLE.length));
}

/**
 * The instance in the control group of a program (/proc/<pid>/cgroup, cgroups(7)): the innermost group
 * that is named "berth-instance-<id>", also as a systemd unit. "" where there is none.
 */
export function instanceOfCgroup(cgroup: string): string {
  for (const line of cgroup.split("\n")) {
    const groups = line.split(":").slice(2).join(":").split("/").reverse();
    for (const group of groups) {
      const id = idOf(CGROUP_FORM.exec(group)?.[1]);
      if (id !== "") return id;
    }
  }
  return "";
}

function idOf(text: string | undefined): string {
  return text !== undefined && ID_FORM.test(text) ? text : "";
}
