import { once } from "node:events";
import net from "node:net";
import { type LogFields, silentLogger } from "@berth/service-kit";
import { freePort } from "@berth/service-kit/testing/free-ports";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasKubernetes } from "../../../../test/support/kubernetes/binaries.ts";
import { until } from "../../testing/fixtures.ts";
import {
  KubernetesScene,
  SCENE_BLOCK,
  sceneInstance,
  sceneInstanceWhen,
} from "../../testing/kubernetes-scene.ts";
import type { KubernetesRuntime } from "./kubernetes-runtime.ts";

const never = new AbortController().signal;
const UNAVAILABLE = { reason: "UNAVAILABLE" };
/** Short enough for tests. */
const RULES = { retry: { firstMs: 50, capMs: 500 }, catchUpMs: 1_000 };

/** A relay before the API server, whose connections a test can cut. */
async function startRelay(targetPort: number) {
  const sockets = new Set<net.Socket>();
  const deaf = new WeakSet<net.Socket>();
  let isShut = false;
  let isDeaf = false;
  const relay = net.createServer((client) => {
    if (isShut) {
      client.destroy();
      return;
    }
    const server = net.connect(targetPort, "127.0.0.1");
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(socket);
      if (isDeaf) deaf.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => other.destroy());
      socket.on("data", (bytes) => {
        if (!deaf.has(socket)) other.write(bytes);
      });
    }
  });
  const port = await freePort();
  await once(relay.listen(port, "127.0.0.1"), "listening");
  return {
    port,
    cut: () => {
      isDeaf = false;
      for (const socket of sockets) socket.destroy();
    },
    /** Takes no more connections, or takes them again. */
    shut: (shut: boolean) => {
      isShut = shut;
    },
    /** Lets the connections that there are stand, and nothing through them; with `all` new ones, too, until they are cut. */
    deafen: (all = false) => {
      isDeaf = all;
      for (const socket of sockets) deaf.add(socket);
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      relay.close();
    },
  };
}

describe.skipIf(!hasKubernetes())("a Kubernetes API that fails", () => {
  let scene: KubernetesScene;
  let relay: Awaited<ReturnType<typeof startRelay>>;
  let namespace: string;
  let runtime: KubernetesRuntime;
  beforeAll(async () => {
    scene = await KubernetesScene.start();
    relay = await startRelay(Number(new URL(scene.kubernetes.url).port));
  });
  afterAll(async () => {
    relay.close();
    await scene.stop();
  });
  beforeEach(async () => {
    namespace = await scene.namespace();
    const client = await scene.client({ limitMs: 1_500, port: relay.port });
    runtime = await scene.open(namespace, { client, rules: RULES });
    await runtime.applyBlock(SCENE_BLOCK, never);
    await runtime.applyInstance(sceneInstance("in-a"), never);
    await sceneInstanceWhen(runtime, "in-a", ({ isReady }) => isReady);
  });
  afterEach(async () => {
    await scene.close(runtime);
  });

  /** Waits until these instances are observed and no others. */
  const untilObserved = async (...ids: readonly string[]) => {
    const isSo = async () => (await observedOrNot(runtime))?.join() === ids.join();
    await until(`${ids} are observed`, isSo, 20_000);
  };
  /** Another agent's hand: removes and makes an instance while the runtime under test hears nothing. */
  const changeBeside = async () => {
    const beside = await scene.open(namespace);
    await beside.removeInstance(sceneInstance("in-a"), never);
    await beside.applyInstance(sceneInstance("in-b"), never);
    await scene.close(beside);
  };

  it("is UNAVAILABLE to everybody while it is paused, never what it was before", async () => {
    scene.kubernetes.pause("apiserver");
    try {
      await expect(runtime.observe(never)).rejects.toMatchObject(UNAVAILABLE);
      const spec = sceneInstance("in-b");
      await expect(runtime.applyBlock(SCENE_BLOCK, never)).rejects.toMatchObject(UNAVAILABLE);
      await expect(runtime.applyInstance(spec, never)).rejects.toMatchObject(UNAVAILABLE);
      await expect(runtime.removeInstance(spec, never)).rejects.toMatchObject(UNAVAILABLE);
      await expect(runtime.removeBlock("blk-a", never)).rejects.toMatchObject(UNAVAILABLE);
      const why = new Error("enough");
      await expect(runtime.observe(AbortSignal.abort(why))).rejects.toBe(why);
    } finally {
      scene.kubernetes.resume("apiserver");
    }
    await untilObserved("in-a");
  });

  it("is known again after it was killed and started", async () => {
    await scene.kubernetes.kill9("apiserver");
    await expect(runtime.observe(never)).rejects.toMatchObject(UNAVAILABLE);
    await scene.kubernetes.restart("apiserver");
    await untilObserved("in-a");
    await runtime.applyInstance(sceneInstance("in-b"), never);
    await sceneInstanceWhen(runtime, "in-b", ({ isReady }) => isReady);
    await untilObserved("in-a", "in-b");
  });

  it("is watched again after connections were cut", async () => {
    for (let times = 0; times < 3; times += 1) {
      relay.cut();
      await untilObserved("in-a");
    }
    await changeBeside();
    await untilObserved("in-b");
  });

  it("is listed anew when the history that a watch needs is gone", async () => {
    await scene.close(runtime);
    const warned: unknown[] = [];
    const warn = (_message: string, fields?: LogFields) => warned.push(fields?.err);
    const client = await scene.client({ limitMs: 1_500, port: relay.port });
    const logger = { ...silentLogger, warn };
    runtime = await scene.open(namespace, { client, rules: RULES, logger });
    relay.shut(true);
    relay.cut();
    await changeBeside();
    await scene.kubernetes.forgetHistory();
    relay.shut(false);
    await untilObserved("in-b");
    expect(warned).toContainEqual(expect.objectContaining({ name: "KubeError", status: 410 }));
  });

  it("is not taken at its last word where connections stand and carry nothing", async () => {
    relay.deafen(true);
    await changeBeside();
    await expect(runtime.observe(never)).rejects.toMatchObject(UNAVAILABLE);
    relay.cut();
    await untilObserved("in-b");
  });

  it("is watched anew after the time that a watch may take, when its watches have died unnoticed", async () => {
    const client = await scene.client({ limitMs: 1_500, port: relay.port });
    const rules = { ...RULES, watchMs: 1_000, lateMs: 1_000 };
    await scene.close(runtime);
    runtime = await scene.open(namespace, { client, rules });
    relay.deafen();
    await changeBeside();
    await untilObserved("in-b");
  });
});

/** The ids that are observed; undefined while that is refused. */
async function observedOrNot(runtime: KubernetesRuntime): Promise<readonly string[] | undefined> {
  try {
    const { instances } = await runtime.observe(never);
    return instances.map(({ instanceId }) => instanceId);
  } catch {
    return undefined;
  }
}
