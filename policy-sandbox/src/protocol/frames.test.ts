import { expect, test } from "vitest";
import { encodeFrame, FrameError, FrameReader, readBodyLength } from "./frames.ts";

const MAX = 10_000;

function frameBytes(header: object, sections: readonly string[] = []): Buffer {
  return Buffer.concat(
    encodeFrame(
      { ...header },
      sections.map((text) => Buffer.from(text)),
    ),
  );
}

function rawFrame(header: string, rest = ""): Buffer {
  const text = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(4 + text.length + rest.length, 0);
  prefix.writeUInt32LE(text.length, 4);
  return Buffer.concat([prefix, text, Buffer.from(rest)]);
}

test("a frame cut into single bytes arrives whole, with its sections", () => {
  const reader = new FrameReader(MAX);
  const bytes = frameBytes({ type: "done", id: 7 }, ["{}", "", "ä"]);
  const frames = [...bytes].flatMap((byte) => reader.push(Buffer.of(byte)));
  expect(frames).toHaveLength(1);
  expect(frames[0]?.header).toMatchObject({ type: "done", id: 7 });
  const texts = frames[0]?.sections.map((section) => Buffer.from(section).toString());
  expect(texts).toEqual(["{}", "", "ä"]);
});

test("several frames in one chunk arrive in order and the rest waits", () => {
  const reader = new FrameReader(MAX);
  const second = frameBytes({ n: 2 });
  const chunk = Buffer.concat([frameBytes({ n: 1 }), second, second.subarray(0, 5)]);
  expect(reader.push(chunk).map((frame) => frame.header.n)).toEqual([1, 2]);
  expect(reader.push(second.subarray(5)).map((frame) => frame.header.n)).toEqual([2]);
});

test("an announced length above the cap is refused before the body is there", () => {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32LE(MAX + 1);
  expect(() => new FrameReader(MAX).push(prefix)).toThrow(FrameError);
  expect(() => readBodyLength(Buffer.alloc(4), MAX)).toThrow(FrameError);
});

test.each([
  ["a header that is not JSON", rawFrame("{nope")],
  ["a header that is not an object", rawFrame("[]")],
  ["a header that is not UTF-8", rawFrame("\xff").fill(0xff, 8)],
  ["no sections", rawFrame("{}")],
  ["sections that are not numbers", rawFrame('{"sections":["1"]}', "x")],
  ["a negative section", rawFrame('{"sections":[-1]}')],
  ["sections beyond the body", rawFrame('{"sections":[9]}', "x")],
  ["bytes that no section claims", rawFrame('{"sections":[]}', "x")],
  ["too many sections", rawFrame(`{"sections":[${"0,".repeat(16)}0]}`)],
  ["a header longer than the body", Buffer.from([4, 0, 0, 0, 255, 0, 0, 0])],
])("%s is refused", (_name, bytes) => {
  expect(() => new FrameReader(MAX).push(bytes)).toThrow(FrameError);
});

test("random bytes never do anything but frames or FrameError", () => {
  for (let seed = 1; seed <= 500; seed += 1) {
    const bytes = Buffer.from(
      Array.from({ length: 64 }, (_, at) => (seed * 31 + at * seed * 7) & 0xff),
    );
    bytes.writeUInt32LE(seed % 60, 0);
    try {
      expect(Array.isArray(new FrameReader(MAX).push(bytes))).toBe(true);
    } catch (error) {
      expect(error).toBeInstanceOf(FrameError);
    }
  }
});
