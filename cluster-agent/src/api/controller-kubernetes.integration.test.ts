import { describe } from "vitest";
import { hasKubernetes } from "../../../test/support/kubernetes/binaries.ts";
import { startBlockAgent } from "../testing/block-agent.ts";
import { controllerContract } from "../testing/controller-contract.ts";
import { KubernetesScene, SCENE_PROGRAM } from "../testing/kubernetes-scene.ts";

describe.skipIf(!hasKubernetes())("with the rights of deploy/kubernetes and no others", () => {
  controllerContract("a real Kubernetes API", async (cleanup) => {
    const scene = await KubernetesScene.start();
    cleanup.add(() => scene.stop());
    const runtime = await scene.settings(cleanup, await scene.namespace());
    const { call } = await startBlockAgent(cleanup, { options: { runtime } });
    return {
      call,
      program: { containerImage: SCENE_PROGRAM.image, command: SCENE_PROGRAM.command },
      nodeId: "node-a",
    };
  });
});
