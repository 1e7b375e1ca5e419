import type { ContainerSpec, Pod, PodCondition, PodState } from "./pod.ts";

/** The status that a kubelet would report: a patch of the pod's `status`. */
export function podStatus(pod: Pod, state: PodState, now: string): object {
  const { stage } = state;
  if (stage.kind === "rejected") {
    const message = `Pod was rejected: ${stage.reason}`;
    return { phase: "Failed", reason: stage.reason, message, startTime: state.startTime };
  }
  const isStarted = stage.kind !== "creating";
  const init = pod.spec.initContainers ?? [];
  return {
    phase: phaseOf(state),
    startTime: state.startTime,
    hostIP: "127.0.0.1",
    hostIPs: [{ ip: "127.0.0.1" }],
    ...(isStarted && { podIP: state.podIP, podIPs: [{ ip: state.podIP }] }),
    conditions: conditionsOf(pod, state, now),
    ...(init.length > 0 && {
      initContainerStatuses: init.map((container) => initStatus(container, state)),
    }),
    containerStatuses: pod.spec.containers.map((container) => containerStatus(container, state)),
  };
}

function phaseOf({ stage }: PodState): string {
  if (stage.kind === "creating") return "Pending";
  if (stage.kind !== "ended") return "Running";
  return stage.exitCode === 0 ? "Succeeded" : "Failed";
}

function conditionsOf(pod: Pod, state: PodState, now: string): readonly object[] {
  const isStarted = state.stage.kind !== "creating";
  const notReady = { reason: "ContainersNotReady", message: "containers with unready status" };
  const ready = state.isReady ? {} : notReady;
  const wanted: readonly PodCondition[] = [
    { type: "PodReadyToStartContainers", status: told(isStarted) },
    { type: "Initialized", status: told(isStarted || !pod.spec.initContainers?.length) },
    { type: "Ready", status: told(state.isReady), ...ready },
    { type: "ContainersReady", status: told(state.isReady), ...ready },
    { type: "PodScheduled", status: "True" },
  ];
  const known = new Map(pod.status?.conditions?.map((condition) => [condition.type, condition]));
  return wanted.map((condition) => {
    const before = known.get(condition.type);
    const isSame = before?.status === condition.status;
    const lastTransitionTime = (isSame && before.lastTransitionTime) || now;
    // A patch merges conditions by their type: what no longer holds must be taken out.
    return { reason: null, message: null, ...condition, lastTransitionTime };
  });
}

function told(value: boolean): string {
  return value ? "True" : "False";
}

function containerStatus(container: ContainerSpec, state: PodState): object {
  const isRunning = state.stage.kind === "running";
  return {
    name: container.name,
    image: container.image ?? "",
    imageID: "",
    ready: isRunning && state.isReady,
    started: isRunning,
    restartCount: state.restarts,
    state: containerState(state),
    lastState:
      state.restarts > 0 && isRunning ? { terminated: terminated(state, state.lastExitCode) } : {},
    ...(isRunning && { containerID: `simulated://${container.name}-${state.restarts}` }),
  };
}

function initStatus(container: ContainerSpec, state: PodState): object {
  const isStarted = state.stage.kind !== "creating";
  const isSidecar = container.restartPolicy === "Always";
  const started = isSidecar
    ? { running: { startedAt: state.startedAt } }
    : { terminated: terminated(state, 0) };
  return {
    name: container.name,
    image: container.image ?? "",
    imageID: "",
    ready: isStarted,
    started: isStarted && isSidecar,
    restartCount: 0,
    state: isStarted ? started : { waiting: { reason: "PodInitializing" } },
  };
}

function containerState(state: PodState): object {
  const { stage } = state;
  switch (stage.kind) {
    case "running":
      return { running: { startedAt: state.startedAt } };
    case "backoff":
      return {
        waiting: { reason: "CrashLoopBackOff", message: "back-off restarting the container" },
      };
    case "ended":
      return { terminated: terminated(state, stage.exitCode) };
    default:
      return { waiting: { reason: state.isPullError ? "ImagePullBackOff" : "ContainerCreating" } };
  }
}

function terminated(state: PodState, exitCode: number): object {
  const reason = exitCode === 0 ? "Completed" : exitCode === 137 ? "OOMKilled" : "Error";
  return { exitCode, reason, startedAt: state.startedAt, finishedAt: state.startedAt };
}
