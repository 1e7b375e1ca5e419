import { GpuInfoSchema, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { GpuPicture } from "./gpu-picture.ts";

const info = (index: number, migEnabled = false) =>
  create(GpuInfoSchema, { uuid: `GPU-0000000${index}`, driverIndex: index, migEnabled });
const listing = (...gpus: ReturnType<typeof info>[]) =>
  ({ kind: "listed", gpus, error: "", remarks: [] }) as const;
const part = (index: number) => ({ index, gpuInstanceId: index + 1, computeInstanceId: 0 });
const logged = (index: number, ...parts: number[]) => ({
  uuid: `GPU-0000000${index}`,
  minorNumber: index,
  throttleReasons: [],
  processes: [],
  migDevices: parts.map(part),
});
const log = (...gpus: ReturnType<typeof logged>[]) => ({ cudaVersion: "12.4", gpus });
const none = { parts: new Map(), matrix: undefined, log: undefined, incomplete: false };
const reading = (index: number) => ({ uuid: `GPU-0000000${index}`, values: { temperatureC: 40 } });

it("says at first that the driver has not answered, and changes only when something does", () => {
  const picture = new GpuPicture(60_000);
  expect(picture.inventory).toMatchObject({
    gpus: [],
    error: expect.stringMatching(/not answered/),
  });
  expect(picture.takeListing(listing(info(0)), 0)).toBe(true);
  expect(picture.takeListing(listing(info(0)), 1)).toBe(false);
  expect(picture.takeListing({ kind: "failed", error: "x" }, 2)).toBe(true);
  expect(picture.inventory).toMatchObject({ gpus: [info(0)], error: "x" });
});

it("needs a survey at first and when the set changes, not for the same set again", () => {
  const picture = new GpuPicture(60_000);
  expect(picture.needsSurvey).toBe(false);
  picture.takeListing(listing(info(0), info(1)), 0);
  expect(picture.needsSurvey).toBe(true);
  picture.takeSurvey({ ...none, gpus: [info(0), info(1)] }, [], 0);
  expect(picture.needsSurvey).toBe(false);
  picture.takeListing(listing(info(0), info(1)), 1);
  expect(picture.needsSurvey).toBe(false);
  picture.takeListing(listing(info(1)), 2);
  expect(picture.needsSurvey).toBe(true);
});

it("asks again after the next listing for what got no answer, and ends no child for it", () => {
  const picture = new GpuPicture(60_000);
  picture.takeListing(listing(info(0)), 0);
  picture.takeSurvey({ ...none, gpus: [info(0)], incomplete: true }, [], 0);
  picture.takeLog(log(logged(0)), [], 1);
  expect([picture.needsSurvey, picture.surveyDoubted]).toEqual([true, false]);
});

it("learns from a later log what the first one could not tell", () => {
  const picture = new GpuPicture(60_000);
  picture.takeListing(listing(info(3)), 0);
  picture.takeSurvey({ ...none, gpus: [info(3)] }, [], 0);
  expect(picture.inventory.gpus[0]).toMatchObject({ cudaVersion: "" });
  expect(picture.takeLog(log(logged(3)), ["a warning"], 1)).toBe(true);
  expect(picture.inventory.gpus[0]).toMatchObject({ cudaVersion: "12.4", minorNumber: 3 });
  expect(picture.inventory.remarks).toEqual(["a warning"]);
  expect(picture.takeLog(log(logged(3)), ["a warning"], 2)).toBe(false);
});

it("keeps the parts it knows until a survey tells of the others that a log shows", () => {
  const picture = new GpuPicture(60_000);
  const gpus = [info(0, true)];
  const parts = (...indexes: number[]) =>
    new Map([
      [
        "GPU-00000000",
        indexes.map((index) => ({ index, uuid: `MIG-${index}`, profile: "1g.5gb" })),
      ],
    ]);
  picture.takeListing(listing(...gpus), 0);
  picture.takeSurvey({ ...none, gpus, parts: parts(0), log: log(logged(0, 0)) }, [], 0);
  expect(picture.takeLog(log(logged(0, 0, 1)), [], 1)).toBe(false);
  expect([picture.needsSurvey, picture.surveyDoubted]).toEqual([true, true]);
  expect(picture.samples(1)[0]?.details?.migDevices).toMatchObject([{ uuid: "MIG-0" }]);
  const next = { ...none, gpus, parts: parts(0, 1), log: log(logged(0, 0, 1)) };
  expect(picture.takeSurvey(next, [], 2)).toBe(true);
  expect(picture.needsSurvey).toBe(false);
  expect(picture.inventory.gpus[0]?.migDevices.map((device) => device.uuid)).toEqual([
    "MIG-0",
    "MIG-1",
  ]);
});

it("keeps what it knows of a GPU that a log, or a survey, leaves out", () => {
  const picture = new GpuPicture(60_000);
  const gpus = [info(0), info(1)];
  picture.takeListing(listing(...gpus), 0);
  picture.takeSurvey({ ...none, gpus, log: log(logged(0), logged(1)) }, [], 0);
  expect(picture.takeLog(log(logged(0)), [], 1)).toBe(false);
  picture.takeListing(listing(info(1)), 2);
  picture.takeSurvey({ ...none, gpus: [info(1)], log: log() }, [], 3);
  expect(picture.inventory.gpus).toMatchObject([{ minorNumber: 1, cudaVersion: "12.4" }]);
  expect(picture.samples(200_000)[0]?.details?.quality).toBe(Quality.STALE);
});

it("takes no part in a log that tells of a GPU which the driver does not list", () => {
  const picture = new GpuPicture(60_000);
  picture.takeListing(listing(info(0)), 0);
  picture.takeSurvey({ ...none, gpus: [info(0)], log: log(logged(0)) }, [], 0);
  expect(picture.takeLog(log(logged(0), logged(7, 0, 1)), [], 1)).toBe(false);
  expect([picture.needsSurvey, picture.surveyDoubted]).toEqual([false, false]);
});

it("has no values while the driver hangs, unless readings come all the same", () => {
  const picture = new GpuPicture(60_000);
  picture.setIntervalMs(1_000, 0);
  picture.takeListing(listing(info(0)), 0);
  picture.takeReading(reading(0), 0);
  expect(picture.setDriverHung(true, true, 1)).toBe(true);
  expect(picture.inventory).toMatchObject({
    driverHung: true,
    error: expect.stringMatching(/^driver_hung/),
  });
  expect(picture.samples(1)[0]).toMatchObject({ quality: Quality.MEASURED, temperatureC: 40 });
  picture.setDriverHung(true, false, 2);
  expect(picture.samples(2)[0]).toMatchObject({ quality: Quality.UNAVAILABLE });
  expect(picture.setDriverHung(false, false, 3)).toBe(true);
  expect(picture.inventory).toMatchObject({ driverHung: false, error: "" });
});

it("keeps the readings of GPUs when only what is known of them changes", () => {
  const picture = new GpuPicture(60_000);
  picture.takeListing(listing(info(0)), 0);
  picture.takeReading(reading(0), 0);
  picture.takeSurvey({ ...none, gpus: [info(0)], log: log(logged(0)) }, [], 500);
  expect(picture.samples(500)[0]).toMatchObject({ temperatureC: 40, ageMs: 500 });
  expect(picture.oldestAgeMs(500)).toBe(500);
});
