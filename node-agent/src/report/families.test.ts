import {
  FingerprintSchema,
  GpuInfoSchema,
  GpuSampleSchema,
  HealthClass,
  HealthReportSchema,
  HostSampleSchema,
  Quality,
} from "@berth/proto";
import { ScrapeRegistry } from "@berth/service-kit/base";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import type { GpuActivity } from "../gpu/gpu-source.ts";
import { agentFamilies } from "./agent-families.ts";
import { gpuFamilies } from "./gpu-families.ts";
import { hostFamilies } from "./host-families.ts";

const A = create(GpuInfoSchema, {
  uuid: "GPU-a",
  driverIndex: 0,
  modelName: "NVIDIA H100 80GB HBM3",
  driverVersion: "550.54.15",
  memoryMib: 81_559n,
});
const B = create(GpuInfoSchema, { uuid: "GPU-b", driverIndex: 1 });

async function scrape(add: (registry: ScrapeRegistry) => void): Promise<string> {
  const usage = {
    cpuUsage: () => ({ user: 0, system: 0 }),
    memoryUsage: { rss: () => 0 },
    uptime: () => 0,
  };
  const registry = new ScrapeRegistry({ program: "node-agent", version: "0", usage });
  add(registry);
  return registry.text();
}

function gpus(activity: Partial<GpuActivity> = {}, quality: Quality = Quality.MEASURED) {
  const sample = create(GpuSampleSchema, {
    uuid: "GPU-a",
    quality,
    ageMs: 250,
    utilizationPercent: 37,
    memoryUsedMib: 1_024n,
    temperatureC: 51,
    powerW: 312.5,
    smClockMhz: 1_980,
    eccUncorrectedTotal: 3n,
    throttleReasons: ["sw_power_cap"],
  });
  const lost = create(GpuSampleSchema, { uuid: "GPU-b", quality: Quality.UNAVAILABLE });
  const inventory = {
    gpus: [A, B],
    error: "",
    driverHung: false,
    topology: undefined,
    remarks: [],
  };
  return gpuFamilies({
    inventory: () => inventory,
    samples: () => [sample, lost],
    activity: () => ({
      ...{ child: "running", childStarts: 1, wantedIntervalMs: 1_000, intervalMs: 1_000 },
      ...activity,
    }),
  });
}

it("tells the host in base units, and leaves out what its sample does not say", async () => {
  const sample = create(HostSampleSchema, {
    quality: Quality.MEASURED,
    ageMs: 1_500,
    cpuUtilizationPercent: 12.5,
    memoryUsedMib: 2_048n,
    load1m: 0.5,
  });
  const facts = create(FingerprintSchema, { memoryMib: 4_096n });
  const text = await scrape((registry) =>
    registry.add(...hostFamilies({ facts: () => facts, sample: () => sample })),
  );
  expect(text).toContain("berth_node_cpu_utilization_ratio 0.125\n");
  expect(text).toContain("berth_node_memory_used_bytes 2147483648\n");
  expect(text).toContain("berth_node_memory_total_bytes 4294967296\n");
  expect(text).toContain("berth_node_load1 0.5\n");
  expect(text).toContain("berth_node_sample_age_seconds 1.5\n");
  expect(text).toContain('berth_node_sample_quality{quality="measured"} 1\n');
  const silent = hostFamilies({ facts: () => undefined, sample: () => sample })
    .filter(({ observe }) => [...observe()].length === 0)
    .map(({ name }) => name);
  expect(silent).toContain("berth_node_load5");
  expect(silent).toContain("berth_node_memory_total_bytes");
  expect(silent).not.toContain("berth_node_load1");
});

it("has no values of a host that was not read yet", () => {
  const families = hostFamilies({ facts: () => undefined, sample: () => undefined });
  expect(families.flatMap(({ observe }) => [...observe()])).toEqual([]);
});

it("tells each GPU by uuid and index in base units, and leaves out what cannot be read", async () => {
  const text = await scrape((registry) => registry.add(...gpus()));
  const a = 'uuid="GPU-a",index="0"';
  for (const line of [
    `berth_gpu_utilization_ratio{${a}} 0.37`,
    `berth_gpu_memory_used_bytes{${a}} 1073741824`,
    `berth_gpu_memory_total_bytes{${a}} ${81_559 * 1_048_576}`,
    `berth_gpu_temperature_celsius{${a}} 51`,
    `berth_gpu_power_watts{${a}} 312.5`,
    `berth_gpu_sm_clock_hertz{${a}} 1980000000`,
    `berth_gpu_ecc_uncorrected_total{${a}} 3`,
    `berth_gpu_sample_age_seconds{${a}} 0.25`,
    `berth_gpu_throttle_reason{${a},reason="sw_power_cap"} 1`,
    `berth_gpu_sample_quality{${a},quality="measured"} 1`,
    'berth_gpu_sample_quality{uuid="GPU-b",index="1",quality="unavailable"} 1',
    `berth_gpu_info{${a},model="NVIDIA H100 80GB HBM3",driver="550.54.15"} 1`,
  ]) {
    expect(text).toContain(`${line}\n`);
  }
  expect(text).not.toContain('berth_gpu_utilization_ratio{uuid="GPU-b"');
  expect(text).not.toContain("NaN");
});

it("tells the state of the sampling child, its restarts, and the interval in force", async () => {
  const hung = { child: "hung", childStarts: 4, intervalMs: 2_000 } as const;
  const text = await scrape((registry) => registry.add(...gpus(hung)));
  expect(text).toContain('berth_gpu_child{state="hung"} 1\n');
  expect(text).toContain('berth_gpu_child{state="running"} 0\n');
  expect(text).toContain("berth_gpu_child_restarts_total 3\n");
  expect(text).toContain("berth_gpu_sample_interval_seconds 2\n");
  expect(text).toContain("berth_gpu_sample_interval_wanted_seconds 1\n");
});

it("counts health facts by class, all classes always, and tells the link", async () => {
  const report = create(HealthReportSchema, {
    kernelLog: Quality.UNAVAILABLE,
    facts: [
      { kind: "xid", healthClass: HealthClass.HARDWARE },
      { kind: "xid", healthClass: HealthClass.HARDWARE },
      { kind: "thermal_slowdown", healthClass: HealthClass.INFO },
    ],
  });
  const text = await scrape((registry) =>
    registry.add(
      ...agentFamilies({
        health: { report: () => report },
        link: { status: () => ({ connected: false, registrations: 3, failures: 7 }) },
      }),
    ),
  );
  expect(text).toContain('berth_health_facts{class="hardware"} 2\n');
  expect(text).toContain('berth_health_facts{class="info"} 1\n');
  expect(text).toContain('berth_health_facts{class="reset"} 0\n');
  expect(text).toContain("berth_kernel_log_readable 0\n");
  expect(text).toContain("berth_link_connected 0\n");
  expect(text).toContain("berth_link_reconnects_total 2\n");
  expect(text).toContain("berth_link_failures_total 7\n");
});
