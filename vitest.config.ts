import path from "node:path";
import { defineConfig } from "vitest/config";
import { STATE_DIR } from "./policy-sandbox/src/testing/state-dir.ts";

/** Most tests wait for timeouts and for other processes: one at a time leaves two cores idle. */
const maxWorkers = 2;

/** Programs that tests start share what each of them would otherwise build anew: seconds of CPU every time. */
const env = {
  NODE_COMPILE_CACHE: path.join(import.meta.dirname, "node_modules/.cache/compiled"),
  BERTH_SANDBOX_DIR: STATE_DIR,
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["*/src/**/*.test.ts"],
          exclude: ["**/node_modules/**", "**/*.integration.test.ts"],
          maxWorkers,
          testTimeout: 10_000,
        },
      },
      {
        test: {
          name: "integration",
          include: ["*/src/**/*.integration.test.ts", "examples/**/*.integration.test.ts"],
          pool: "forks",
          env,
          maxWorkers,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          pool: "forks",
          env,
          maxWorkers,
          sequence: { groupOrder: 1 },
          testTimeout: 90_000,
          hookTimeout: 90_000,
        },
      },
    ],
  },
});
