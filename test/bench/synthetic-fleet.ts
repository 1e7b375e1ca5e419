import path from "node:path";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { until } from "../support/fleet.ts";
import {
  DEFAULT_SHAPE,
  type GeneratorOptions,
  type GeneratorStatus,
} from "../support/fleet-generator.ts";
import { type JsonLineProcess, startJsonLineProcess } from "../support/json-line-process.ts";

const GENERATOR = path.resolve(import.meta.dirname, "../support/fleet-generator-main.ts");
const LIVE_LIMIT_MS = 120_000;
/** Each cluster's document changes twice a minute: a GPU is given out, or comes back. */
const DOCUMENT_CHANGE_MS = 30_000;

/** A control-plane and a generator of clusters, each in a process of its own. */
export interface SyntheticFleet {
  readonly controlPlane: ControlPlaneProcess;
  readonly generator: JsonLineProcess<GeneratorStatus>;
  stop(): Promise<void>;
}

/** Starts the agents of synthetic clusters, without waiting for them. */
export function startGenerator(
  { agentUrl, token }: ControlPlaneProcess,
  clusters: number,
  incarnation = 1,
): JsonLineProcess<GeneratorStatus> {
  const options: GeneratorOptions = {
    url: agentUrl,
    token,
    clusters,
    shape: DEFAULT_SHAPE,
    seed: 7,
    incarnation,
    documentChangeMs: DOCUMENT_CHANGE_MS,
  };
  return startJsonLineProcess(GENERATOR, options);
}

/** Starts both and waits until every cluster is live. */
export async function startSyntheticFleet(options: {
  readonly clusters: number;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<SyntheticFleet> {
  const controlPlane = await startControlPlane({ env: options.env ?? {} });
  const generator = startGenerator(controlPlane, options.clusters);
  await until(() => controlPlane.liveClusters() >= options.clusters, {
    limitMs: LIVE_LIMIT_MS,
    what: () => `${options.clusters} live clusters; ${JSON.stringify(generator.latest())}`,
  });
  return {
    controlPlane,
    generator,
    async stop() {
      await generator.stop();
      await controlPlane.stop();
    },
  };
}
