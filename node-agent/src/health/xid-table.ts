import { HealthClass } from "@berth/proto";

const { INFO, APPLICATION, RESET, HARDWARE } = HealthClass;

/**
 * What each XID asks for. Source: NVIDIA, "Xid Errors", chapter "Analyzing Xid Errors with the Xid
 * Catalog" (docs.nvidia.com/deploy/xid-errors, as of October 2025), column "Immediate Action", read as:
 * IGNORE → INFO, RESTART_APP → APPLICATION, RESET_GPU and RESTART_VM → RESET. Where this table differs:
 *
 * - 43, 45: IGNORE or a workflow there; APPLICATION here, for the channel that was torn down is a program's.
 * - 48 (double-bit ECC error, a workflow there): HARDWARE, until a person has looked at the GPU.
 * - 54 (no auxiliary power, CHECK_MECHANICALS): HARDWARE.
 * - 64, 157 (memory could not be remapped or retired; RESET_GPU, IGNORE there): HARDWARE, for it is
 *   NVIDIA's criterion for a replacement ("GPU Memory Error Management", RMA policy).
 * - 74 (NVLink, a workflow there) and 79 (fallen off the bus, RESTART_BM there): HARDWARE.
 * - 94 (contained memory error): APPLICATION as there. The program is lost, others go on; the reset that
 *   its remapped row may wait for is told by "row_remap_pending".
 * - 92 (many corrected errors): INFO as there; documents of older GPUs name it a hardware error.
 *
 * Codes that the catalog calls unused are not in the table, nor are those that it gives no action yet.
 */
const CLASSES: readonly (readonly [HealthClass, readonly number[]])[] = [
  [
    INFO,
    [
      14, 37, 38, 44, 63, 66, 67, 92, 93, 106, 107, 108, 121, 137, 141, 152, 153, 160, 161, 162,
      163,
    ],
  ],
  [
    APPLICATION,
    [
      8, 11, 13, 25, 31, 32, 39, 40, 41, 43, 45, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84,
      85, 86, 88, 89, 94, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 126, 127, 128, 129, 130,
      131, 132, 133, 134, 135, 139, 159,
    ],
  ],
  [RESET, [46, 62, 95, 109, 110, 119, 120, 136, 140, 143, 151, 155, 156, 158, 167, 169]],
  [HARDWARE, [48, 54, 64, 74, 79, 157, 171, 172]],
];

const CLASS_OF: ReadonlyMap<number, HealthClass> = new Map(
  CLASSES.flatMap(([healthClass, codes]) => codes.map((code) => [code, healthClass] as const)),
);

/** Errors of fifth-generation NVLink say in their text whether they are fatal. */
const NVLINK5 = { first: 144, last: 150 };

const RECOVERY_ACTION_CHANGED = 154;

/**
 * Class of an XID. `text` is its kernel-log line: some codes mean what it says. A code that is not in the
 * table is APPLICATION: it is reported with its number and line and takes no GPU out of service, for a
 * driver newer than this table must not drain a fleet; a GPU that really fails shows that otherwise too.
 */
export function xidClass(code: number, text: string): HealthClass {
  if (code === RECOVERY_ACTION_CHANGED) return recoveryClass(text);
  if (code >= NVLINK5.first && code <= NVLINK5.last) {
    return /\bfatal\b/i.test(text) && !/\bnon-?\s?fatal\b/i.test(text) ? RESET : INFO;
  }
  return CLASS_OF.get(code) ?? APPLICATION;
}

/**
 * Class of an SXid: a fatal one ends the work of every GPU behind the switch until they are reset, any
 * other needs nothing (NVIDIA, "Fabric Manager User Guide", appendix D).
 */
export function sxidClass(fatal: boolean): HealthClass {
  return fatal ? RESET : INFO;
}

/** "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)". */
function recoveryClass(text: string): HealthClass {
  return /\bto 0x0+\b/i.test(text) ? INFO : RESET;
}
