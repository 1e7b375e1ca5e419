import {
  type ExternalServer,
  hasRedis,
  startRedisServer,
} from "@berth/service-kit/testing/external-servers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";

const WAIT = { timeout: 30_000, interval: 50 };

describe.skipIf(!hasRedis())("a control-plane with Redis", { timeout: 120_000 }, () => {
  let redis: ExternalServer;
  let plane: ControlPlaneProcess;

  beforeAll(async () => {
    redis = await startRedisServer();
  });
  afterAll(async () => {
    await plane?.stop();
    await redis?.stop();
  });

  /** One on a data directory of its own, which is gone when it is stopped. */
  const start = async () => {
    plane = await startControlPlane({ env: { BERTH_REDIS_URL: redis.url } });
  };

  async function call(method: string, path: string, body?: object) {
    const headers = { "content-type": "application/json" };
    const init = body === undefined ? {} : { headers, body: JSON.stringify(body) };
    const answer = await fetch(`${plane.restUrl}${path}`, { method, ...init });
    return { status: answer.status, body: JSON.parse(await answer.text()) };
  }

  const mirrored = () =>
    vi.waitFor(async () => {
      const { body } = await call("GET", "/readyz");
      expect(body.data.mirror).toBe("ready");
    }, WAIT);

  it("has its quotas, workflows and settings back after its data directory was lost", async () => {
    await start();
    await call("POST", "/quota", { quota_id: "q", subject_id: "s", replica_count: "1" });
    const code = "class AIOSv1PolicyRule:\n    def eval(self, p, i, c=None): return {}\n";
    const workflow = { workflow_id: "w", modules: { m: { code } }, graph: { m: [] } };
    expect((await call("POST", "/workflows", workflow)).status).toBe(201);
    await call("POST", "/autoscale/config", { threshold: 0.7 });
    const asked = { subject_id: "s", replica_count: 4 };
    expect((await call("POST", "/autoscale/requests", asked)).body.data.state).toBe("confirmed");
    await mirrored();
    await plane.stop();

    await start();
    expect((await call("GET", "/quota/q")).body.data).toMatchObject({ replica_count: "4" });
    expect((await call("GET", "/workflows/w")).status).toBe(200);
    expect((await call("GET", "/autoscale/config")).body.data).toEqual({ threshold: 0.7 });
    const again = await call("POST", "/autoscale/requests", { ...asked, replica_count: 5 });
    expect(again.body.data).toMatchObject({ state: "confirmed", generation: 2 });
  });

  it("goes on while Redis is away, and says so", async () => {
    await redis.kill9();
    const asked = { subject_id: "s", replica_count: 6 };
    expect((await call("POST", "/autoscale/requests", asked)).body.data.state).toBe("confirmed");
    await vi.waitFor(async () => {
      const { status, body } = await call("GET", "/readyz");
      expect(status).toBe(200);
      expect(body.data.mirror).not.toBe("ready");
    }, WAIT);
    await redis.restart();
    await mirrored();
  });
});
