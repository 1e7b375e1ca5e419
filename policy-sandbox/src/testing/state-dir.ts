import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where all test runs keep the memory image that policy workers start from, so that it is built once. */
export const STATE_DIR: string = join(tmpdir(), "berth-policy-sandbox-tests");
