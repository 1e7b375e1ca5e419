import { describe } from "vitest";
import { hasKubernetes } from "../../../test/support/kubernetes/binaries.ts";
import { controllerContract } from "../testing/controller/controller-contract.ts";
import { startController } from "../testing/controller/controller-under-test.ts";
import { KubernetesScene, SCENE_PROGRAM } from "../testing/kubernetes-scene.ts";

describe.skipIf(!hasKubernetes())("with the rights of deploy/kubernetes and no others", () => {
  controllerContract("a real Kubernetes API", async (cleanup) => {
    const scene = await KubernetesScene.start();
    cleanup.add(() => scene.stop());
    const runtime = await scene.settings(cleanup, await scene.namespace());
    const { image, command } = SCENE_PROGRAM;
    const program = { containerImage: image, command };
    return startController(cleanup, { program, options: { runtime } });
  });
});
