import { crc32 } from "node:zlib";

/** One entry of a test archive. */
export interface ArchiveEntry {
  readonly name: string;
  readonly data?: string | Uint8Array;
  /** tar type flag: "0" file, "2" symbolic link, "3" device, "5" folder, "L" GNU long name, "x" and "g" PAX. */
  readonly type?: "0" | "2" | "3" | "5" | "L" | "x" | "g";
  readonly linkTo?: string;
  /** The size that a tar header tells, when it is not that of `data`; may be negative or huge. */
  readonly claimedSize?: number;
}

const BLOCK = 512;

/** A tar archive (ustar) of the entries, names taken as they are. */
export function tarOf(entries: readonly ArchiveEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const data = Buffer.from(entry.data ?? "");
    return [
      tarHeader(entry, data.length),
      data,
      Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK),
    ];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function tarHeader(entry: ArchiveEntry, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(entry.name, 0);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  const told = entry.claimedSize ?? size;
  if (told >= 0 && told < 8 ** 11) header.write(`${told.toString(8).padStart(11, "0")}\0`, 124);
  else writeBase256(header, told);
  header.write("00000000000\0", 136);
  header.write("        ", 148);
  header.write(entry.type ?? "0", 156);
  header.write(entry.linkTo ?? "", 157);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** GNU's form of a size that octal digits cannot tell: a flag byte and 11 bytes of two's complement. */
function writeBase256(header: Buffer, size: number): void {
  header[124] = size < 0 ? 0xff : 0x80;
  header.fill(size < 0 ? 0xff : 0, 125, 136);
  header.writeBigInt64BE(BigInt(size), 128);
}

/** One record of a PAX header, with the length that it begins with. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const digits = String(rest.length + String(rest.length).length).length;
  return `${rest.length + digits}${rest}`;
}

/** A zip archive of the entries, stored without compression. */
export function zipOf(entries: readonly ArchiveEntry[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const data = Buffer.from(entry.data ?? "");
    const common = zipCommon(data);
    const nameLengths = Buffer.alloc(4);
    nameLengths.writeUInt16LE(name.length);
    const local = Buffer.concat([
      Buffer.from("PK\x03\x04\x14\0", "latin1"),
      common,
      nameLengths,
      name,
      data,
    ]);
    const rest = Buffer.alloc(14);
    if (entry.type === "2") rest.writeUInt32LE(0xa1ff0000, 6);
    rest.writeUInt32LE(offset, 10);
    const record = Buffer.from("PK\x01\x02\x14\x03\x14\0", "latin1");
    directory.push(record, common, nameLengths, rest, name);
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}

/** Flags, method, time, date, checksum and both sizes. */
function zipCommon(data: Buffer): Buffer {
  const common = Buffer.alloc(20);
  common.writeUInt32LE(crc32(data), 8);
  common.writeUInt32LE(data.length, 12);
  common.writeUInt32LE(data.length, 16);
  return common;
}

/** `code/function.py` = "x=1\n", as `tar cJf` writes it. */
export const TAR_XZ = Buffer.from(
  "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AIpdADGbyLBT6/FBQoZnirSuh28MTSj4OxFV2COwNKUcq1AV0OV5zehVRacPWKWqZ6EBlKuu+SQNtRmCBGQJuU5MdsD4VAzEew66agcdj9FgSu02/fansYnIYZQzw6FuxoLPwLOc6rAOokf/eQTwGLpB67bzE49LQo2t4B5/K+09lS2JLiaNRIMY1ed5AAAAACwkzYyOMReCAAGmAYBQAAAVl5WwscRn+wIAAAAABFla",
  "base64",
);

/** The same as `tar cjf` writes it. */
export const TAR_BZ2 = Buffer.from(
  "QlpoOTFBWSZTWYnQvgQAAJV7hMmQAERAAf+CQAhvId5gAACACCAAkoSqZDTQAANAMjQSUJ6KeU0PU0A9QAek9md8ctbDJAUkhJGW90qBDbqahIKjhIHiZ6gfB568GEQF0tEXMcYE4WgWYxI1HudxiRERzqSRWJFsljRD8gMhj73HhsqF7T1gRB44pGixgzJ3uVzmJB/F3JFOFCQidC+BAA==",
  "base64",
);

/** The same with the integrity check that `xz --check=sha256` chooses. */
export const TAR_XZ_SHA256 = Buffer.from(
  "/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4Cf/AGddADGbyLBT7lbwq0IOlODMa2stQg/JkLralVrD5XGwKc9LEr+tALvh6KUAYff1r1CQCtDJQ3JVeCMs1vaVLjHRoP+NrhgP0QrFB8Jq6DrmfxqEg3Aq2HSkBvgmZWw9bRGiEp2Llshk8QAAALpqtDBGhs95yAS5jZ9gVF8k+ygw4xib5+kD20JWJcJxAAGbAYBQAABmg3EItunfHAIAAAAAClla",
  "base64",
);
