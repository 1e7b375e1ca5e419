import { afterAll, beforeAll, describe } from "vitest";
import { hasKubernetes } from "../../../../test/support/kubernetes/binaries.ts";
import { KubernetesScene, SCENE_PROGRAM } from "../../testing/kubernetes-scene.ts";
import { runtimeContract } from "../../testing/runtime-contract.ts";
import type { ObservedInstance } from "../runtime.ts";

describe.skipIf(!hasKubernetes())("with the rights of deploy/kubernetes and no others", () => {
  let scene: KubernetesScene;
  beforeAll(async () => {
    scene = await KubernetesScene.start();
  });
  afterAll(async () => {
    await scene.stop();
  });

  runtimeContract({
    name: "a real Kubernetes API",
    make: async () => {
      const namespace = await scene.namespace();
      const open = async (clusterId: string) => {
        const runtime = await scene.open(namespace, { clusterId });
        return { runtime, close: () => scene.close(runtime) };
      };
      return {
        nodeId: "node-1",
        program: SCENE_PROGRAM,
        refused: { image: undefined, command: SCENE_PROGRAM.command },
        open: () => open("cl-1"),
        openOther: () => open("cl-2"),
        living: (id) => scene.living(namespace, id),
        kill: async ({ podName = "" }: ObservedInstance) => scene.nodes.crash(podName),
        dispose: async () => {},
      };
    },
  });
});
