// Prints "N passed, N failed, N skipped" from vitest's JSON report. Plain JavaScript: it runs on the
// machine's own Node, also when `npm ci` failed and there is no report.
import { readFileSync } from "node:fs";

const report = readReport(process.argv[2]);
const counts = { passed: 0, failed: 0, skipped: 0 };
for (const { status, assertionResults } of report.testResults) {
  for (const test of assertionResults) {
    if (test.status === "passed" || test.status === "failed") counts[test.status] += 1;
    else counts.skipped += 1;
  }
  // A file that cannot be loaded, or whose hook fails, fails without a test of its own.
  if (status === "failed" && !assertionResults.some((test) => test.status === "failed")) {
    counts.failed += 1;
  }
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);

/** The report, or an empty one when vitest did not get as far as to write it. */
function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    console.error(`no test report: ${thrown.message}`);
    return { testResults: [] };
  }
}
