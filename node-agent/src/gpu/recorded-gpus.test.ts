import { Quality } from "@berth/proto";
import { expect, it } from "vitest";
import { loadSmiFixture, SMI_FIXTURES } from "../testing/smi-fixture.ts";
import { recordedGpus } from "./recorded-gpus.ts";

it.each(SMI_FIXTURES)(
  "reads the recording %s as one reading per GPU of its inventory",
  async (name) => {
    const { inventory, samples } = recordedGpus(await loadSmiFixture(name));
    expect(inventory.gpus.length).toBeGreaterThan(0);
    expect(samples.map(({ uuid }) => uuid)).toEqual(inventory.gpus.map(({ uuid }) => uuid));
    expect(inventory.topology?.rows.length).toBe(inventory.gpus.length);
  },
);

it("reads what each kind of machine tells", async () => {
  const h100 = recordedGpus(await loadSmiFixture("h100"));
  expect(h100.inventory.gpus).toHaveLength(8);
  expect(h100.inventory.gpus[1]).toMatchObject({ memoryMib: 81_559n, cudaVersion: "12.4" });
  expect(h100.inventory.topology?.rows[0]?.links[1]).toBe("NV18");
  expect(h100.samples[1]).toMatchObject({
    quality: Quality.MEASURED,
    utilizationPercent: 10,
    memoryUsedMib: 1_536n,
    smClockMhz: 1_980,
  });
  expect(h100.samples[1]?.details).toBeDefined();
  const a100 = recordedGpus(await loadSmiFixture("a100-mig"));
  expect(a100.inventory.gpus[0]?.migDevices.length).toBeGreaterThan(0);
  const t4 = recordedGpus(await loadSmiFixture("t4"));
  expect(t4.samples[0]?.powerW).toBeUndefined();
});

it("makes an empty inventory of texts that say nothing", () => {
  const { inventory, samples } = recordedGpus({ csv: "", xml: "", topo: "", list: "" });
  expect(inventory.gpus).toEqual([]);
  expect(samples).toEqual([]);
});
