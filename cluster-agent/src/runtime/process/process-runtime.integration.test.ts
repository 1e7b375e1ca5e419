import { ECHO_COMMAND, LocalProcesses, pidOf } from "../../testing/local-processes.ts";
import { runtimeContract } from "../../testing/runtime-contract.ts";

runtimeContract({
  name: "local processes",
  make: () => {
    const local = new LocalProcesses();
    const beside = new LocalProcesses();
    const open = async (processes: LocalProcesses) => {
      const runtime = await processes.open();
      return { runtime, close: () => runtime.stop() };
    };
    return {
      nodeId: "node-1",
      program: { image: undefined, command: ECHO_COMMAND, env: { GREETING: "hello" } },
      refused: { image: "berth-echo:1.0.0", command: undefined },
      open: () => open(local),
      openOther: () => open(beside),
      living: async ({ blockId, instanceId }) => local.pids(`${blockId}/${instanceId}`).length,
      kill: async (instance) => {
        process.kill(pidOf(instance), "SIGKILL");
      },
      dispose: async () => {
        local.dispose();
        beside.dispose();
      },
    };
  },
});
