import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { Cleanup } from "../agent.ts";
import { blockActionCases } from "./block-action-cases.ts";
import { blockRouteCases } from "./block-route-cases.ts";
import { clusterActionCases } from "./cluster-action-cases.ts";
import { clusterDataCases } from "./cluster-data-cases.ts";
import { ControllerClient } from "./controller-client.ts";
import type { ControllerUnderTest } from "./controller-under-test.ts";
import type { Send } from "./failure.ts";
import { faultCases } from "./fault-cases.ts";
import { leaseCases } from "./lease-cases.ts";
import { operationCases } from "./operation-cases.ts";
import { precheckCases } from "./precheck-cases.ts";
import { toldCases } from "./told-cases.ts";

/** Shapes of one action: flat, as the existing deployment takes it, and nested, as the seed writes it. */
const SHAPES = [
  ["flat", "", (action: string, fields: object) => ({ action, ...fields })],
  ["nested in data", "/controller", (action: string, fields: object) => ({ action, data: fields })],
] as const;

/**
 * What every cluster-agent answers on the routes of the Cluster Controller, whatever runs its blocks: each endpoint and
 * action, success and failure, in the seed's shape and in that of the existing deployment.
 */
export function controllerContract(
  name: string,
  open: (cleanup: Cleanup) => Promise<ControllerUnderTest>,
): void {
  describe(`the Cluster Controller on ${name}`, () => {
    const cleanup = new Cleanup();
    const client = new ControllerClient();
    beforeAll(() => client.open(cleanup, open));
    afterAll(() => cleanup.run());
    afterEach(() => client.removeAll());
    describe.each(SHAPES)("takes actions %s, below '%s':", (_name, prefix, shaped) => {
      const send: Send = (action, fields) => {
        return client.call("POST", `${prefix}/executeAction`, shaped(action, fields));
      };
      blockActionCases(client, send);
    });
    faultCases(client);
    operationCases(client);
    leaseCases(client);
    blockRouteCases(client);
    clusterActionCases(client);
    clusterDataCases(client);
    precheckCases(client);
    toldCases(client);
  });
}
