import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { BootGpus, parseBootGpus } from "./boot-gpus.ts";

const A = { uuid: "GPU-a", pci: "0000:41:00" };
const B = { uuid: "GPU-b", pci: "0000:42:00" };

let dataDir = "";

async function opened(bootId = "boot", directory = dataDir): Promise<BootGpus> {
  const gpus = new BootGpus(directory);
  await gpus.open(bootId);
  return gpus;
}

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-boot-gpus-"));
});

afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

it("keeps what was listed in this boot over a restart, and nothing over a reboot", async () => {
  const first = await opened();
  await first.see([A, B]);
  await first.see([A]);
  expect(first.list()).toEqual([A, B]);
  expect((await opened()).list()).toEqual([A, B]);
  expect((await opened("another")).list()).toEqual([]);
  expect(await readdir(dataDir)).toEqual(["boot-gpus.json"]);
});

it("takes a GPU that was plugged elsewhere for the same one", async () => {
  const gpus = await opened();
  await gpus.see([A]);
  await gpus.see([{ ...A, pci: B.pci }]);
  expect((await opened()).list()).toEqual([{ uuid: A.uuid, pci: B.pci }]);
});

it("writes later what it could not write when it was told", async () => {
  const directory = path.join(dataDir, "not-yet");
  const gpus = await opened("boot", directory);
  await gpus.see([A]);
  expect(gpus.list()).toEqual([A]);
  await mkdir(directory);
  await gpus.see([A]);
  expect((await opened("boot", directory)).list()).toEqual([A]);
});

it("keeps 64 GPUs at most", async () => {
  const gpus = await opened();
  await gpus.see(
    Array.from({ length: 100 }, (_none, index) => ({ uuid: `GPU-${index}`, pci: "" })),
  );
  expect(gpus.list()).toHaveLength(64);
});

it.each(["", "{", "null", "[]", "{}", '{"bootId":"boot"}', '{"bootId":"boot","gpus":[1,{},null]}'])(
  "takes %j for none",
  async (text) => {
    expect(parseBootGpus(text, "boot")).toEqual([]);
    await writeFile(path.join(dataDir, "boot-gpus.json"), text);
    expect((await opened()).list()).toEqual([]);
  },
);
