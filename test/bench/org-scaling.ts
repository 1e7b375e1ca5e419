import {
  hasNats,
  hasRedis,
  startNatsServer,
  startRedisServer,
} from "@berth/service-kit/testing/external-servers";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { RestClient, ScaleCaller } from "./org-client.ts";
import { type BenchOptions, compared, type Emit, quantile, rounded } from "./report.ts";

const FULL = { quotas: 200, many: 10_000, clients: 50, warmUpMs: 5_000, forMs: 20_000 } as const;
const QUICK = { quotas: 20, many: 100, clients: 5, warmUpMs: 200, forMs: 500 } as const;

interface Plan {
  readonly quotas: number;
  readonly clients: number;
  readonly warmUpMs: number;
  readonly forMs: number;
}

/** What one control-plane did. */
interface Result {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
}

/**
 * 50 sockets that stay open, each scaling subjects of its own one after the other on the bus within the program: from the request to
 * its confirmation. Against that: one client alone, 10,000 quotas, a NATS server with JetStream and a Redis server, where there are such.
 */
export async function orgScalingBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const { many, ...plan } = quick ? QUICK : FULL;
  const embedded = await measured({}, plan);
  const name = `${plan.clients} clients, ${plan.quotas} quotas`;
  emit({ figure: `ad-hoc to confirmation, p50, ${name}`, value: embedded.p50Ms, unit: "ms" });
  emit({ figure: `ad-hoc to confirmation, p99, ${name}`, value: embedded.p99Ms, unit: "ms" });
  emit({ figure: `confirmed, ${name}`, value: embedded.perSecond, unit: "/s" });
  const tell = (what: string, result: Result) => {
    const told = [
      ["ad-hoc to confirmation, p50", "p50Ms", "ms"],
      ["ad-hoc to confirmation, p99", "p99Ms", "ms"],
      ["confirmed", "perSecond", "/s"],
    ] as const;
    for (const [figure, key, unit] of told) {
      const about = { figure: `${figure}, ${what}`, value: result[key], unit };
      emit(compared(about, { name, value: embedded[key] }));
    }
  };
  tell("1 client", await measured({}, { ...plan, clients: 1 }));
  tell(`${many} quotas`, await measured({}, { ...plan, quotas: many }));
  for (const { isThere, start, env } of ENGINES) {
    if (!isThere()) continue;
    const server = await start();
    try {
      tell(env.what, await measured({ [env.name]: server.url }, plan));
    } finally {
      await server.stop();
    }
  }
}

/** Real servers beside the control-plane, and the setting that names them. */
const ENGINES = [
  {
    ...{ isThere: hasNats, start: () => startNatsServer({ jetStream: true }) },
    env: { name: "BERTH_NATS_URL", what: "NATS with JetStream" },
  },
  {
    ...{ isThere: hasRedis, start: () => startRedisServer() },
    env: { name: "BERTH_REDIS_URL", what: "Redis" },
  },
] as const;

async function measured(env: Readonly<Record<string, string>>, plan: Plan): Promise<Result> {
  const plane = await startControlPlane({ env });
  try {
    const rest = new RestClient(plane.restUrl);
    await rest.createQuotas(plan.quotas);
    rest.close();
    await load(plane, plan, plan.warmUpMs);
    return await load(plane, plan, plan.forMs);
  } finally {
    await plane.stop();
  }
}

/** Each client goes round subjects that no other scales. */
async function load(plane: ControlPlaneProcess, plan: Plan, forMs: number): Promise<Result> {
  const { clients, quotas } = plan;
  const url = `ws://127.0.0.1:${plane.ports.http}/ws/autoscale`;
  const callers = await Promise.all(Array.from({ length: clients }, () => ScaleCaller.open(url)));
  const times: number[] = [];
  const beginMs = performance.now();
  const run = async (caller: ScaleCaller, client: number) => {
    for (let turn = 0; performance.now() - beginMs < forMs; turn += 1) {
      const subject = (client + turn * clients) % quotas;
      times.push(await caller.scale(`subject-${subject}`, 1 + ((turn + client) % 100)));
    }
  };
  await Promise.all(callers.map(run));
  const elapsedS = (performance.now() - beginMs) / 1_000;
  for (const caller of callers) caller.close();
  return {
    p50Ms: rounded(quantile(times, 0.5)),
    p99Ms: rounded(quantile(times, 0.99)),
    perSecond: rounded(times.length / elapsedS),
  };
}
