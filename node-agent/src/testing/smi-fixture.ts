import { readFile } from "node:fs/promises";

/** Recordings in examples/nvidia-smi. */
export const SMI_FIXTURES = ["h100", "a100-mig", "t4", "failing"] as const;

/** Name of a recording. */
export type SmiFixtureName = (typeof SMI_FIXTURES)[number];

/** What `nvidia-smi` prints on a machine, as it stands in the files. */
export interface SmiFixture {
  readonly name: SmiFixtureName;
  /** `--query-gpu=<every field> --format=csv,nounits`, with its header line. */
  readonly csv: string;
  /** `-q -x`. */
  readonly xml: string;
  /** `topo -m`. */
  readonly topo: string;
  /** `-L`. */
  readonly list: string;
}

const FOLDER = new URL("../../../examples/nvidia-smi/", import.meta.url);

/** Reads a recording; rejects when a file of it is missing. */
export async function loadSmiFixture(name: SmiFixtureName): Promise<SmiFixture> {
  const files = ["query.csv", "query.xml", "topo.txt", "list.txt"];
  const read = (file: string) => readFile(new URL(`${name}/${file}`, FOLDER), "utf8");
  const [csv = "", xml = "", topo = "", list = ""] = await Promise.all(files.map(read));
  return { name, csv, xml, topo, list };
}
