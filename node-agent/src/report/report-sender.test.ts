import {
  FingerprintSchema,
  GpuSampleSchema,
  HealthReportSchema,
  HostSampleSchema,
  type NodeReportRequest,
  Quality,
} from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { beforeEach, expect, it } from "vitest";
import { ReportSender } from "./report-sender.ts";

let written: NodeReportRequest[] = [];
let release: () => void = () => undefined;
let temperatureC = 40;
let hostname = "a";
let quality: Quality = Quality.MEASURED;

function sender(): ReportSender {
  return new ReportSender({
    registrationId: "r1",
    registered: create(FingerprintSchema, { hostname: "a" }),
    content: {
      fingerprint: () => create(FingerprintSchema, { hostname }),
      host: () => create(HostSampleSchema, { load1m: 1 }),
      gpus: () => [
        create(GpuSampleSchema, {
          uuid: "g",
          temperatureC,
          quality,
          details: { rowRemapPending: true },
        }),
      ],
      health: () => create(HealthReportSchema, { kernelLog: Quality.MEASURED }),
    },
    write: (message, sent) => {
      written.push(message);
      release = sent;
    },
  });
}

beforeEach(() => {
  written = [];
  temperatureC = 40;
  hostname = "a";
  quality = Quality.MEASURED;
});

it("numbers its messages from 1 and names its registration", () => {
  const one = sender();
  one.mark("host");
  release();
  one.mark("gpus");
  expect(written.map((message) => message.streamSeq)).toEqual([1n, 2n]);
  expect(written.map((message) => message.registrationId)).toEqual(["r1", "r1"]);
  expect(written[0]?.gpus).toEqual([]);
  expect(written[1]?.host).toBeUndefined();
});

it("holds one message on a slow link and then sends only the newest values", () => {
  const one = sender();
  one.mark("gpus");
  for (temperatureC = 41; temperatureC < 1_000; temperatureC += 1) one.mark("gpus");
  one.mark("host");
  expect(written).toHaveLength(1);
  release();
  expect(written).toHaveLength(2);
  expect(written[1]?.gpus[0]?.temperatureC).toBe(1_000);
  expect(written[1]?.host?.load1m).toBe(1);
  release();
  expect(written).toHaveLength(2);
});

it("sends a fingerprint only when it differs from the one before", () => {
  const one = sender();
  one.mark("fingerprint");
  expect(written).toHaveLength(0);
  hostname = "b";
  one.mark("fingerprint");
  release();
  one.mark("fingerprint");
  expect(written.map((message) => message.fingerprint?.hostname)).toEqual(["b"]);
});

it("sends a changed GPU set together with its first samples", () => {
  const one = sender();
  hostname = "b";
  one.mark("gpus");
  expect(written[0]?.fingerprint?.hostname).toBe("b");
  expect(written[0]?.gpus).toHaveLength(1);
});

it("sends health when it has changed, and not with every sample", () => {
  const one = sender();
  one.mark("fingerprint", "host", "gpus", "health");
  release();
  one.mark("gpus");
  release();
  one.mark("health");
  expect(written.map((message) => message.health?.kernelLog)).toEqual([
    Quality.MEASURED,
    undefined,
    Quality.MEASURED,
  ]);
});

it("sends details in the first report and when they have changed, not with every sample", () => {
  const one = sender();
  one.mark("fingerprint", "host", "gpus", "details", "health");
  one.mark("gpus");
  release();
  // Marked while a message was on its way: not lost, and sent once.
  one.mark("details");
  release();
  one.mark("gpus");
  release();
  one.mark("gpus");
  const sent = written.map((message) => message.gpus[0]?.details?.rowRemapPending);
  expect(sent).toEqual([true, undefined, true, undefined]);
});

it("sends no sample of a GPU that has not been read yet, and its details with the first one", () => {
  quality = Quality.UNSPECIFIED;
  const one = sender();
  one.mark("fingerprint", "host", "gpus", "details", "health");
  release();
  one.mark("gpus");
  expect(written.map(({ gpus }) => gpus)).toEqual([[]]);
  quality = Quality.MEASURED;
  one.mark("gpus");
  release();
  one.mark("gpus");
  const sent = written.map((message) => message.gpus[0]?.details?.rowRemapPending);
  expect(sent).toEqual([undefined, true, undefined]);
});

it("sends that a GPU cannot be read", () => {
  quality = Quality.UNAVAILABLE;
  sender().mark("gpus");
  expect(written[0]?.gpus[0]?.quality).toBe(Quality.UNAVAILABLE);
});
