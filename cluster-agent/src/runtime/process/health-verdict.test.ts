import { expect, it } from "vitest";
import { healthVerdict } from "./health-verdict.ts";

it.each([
  ['{"success":true,"data":{"status":"healthy"}}'],
  ['{"success":true,"data":{}}'],
  ['{"success":true,"data":"fine"}'],
  ["{}"],
  ["[]"],
  ["null"],
  [""],
  ["OK"],
])("takes 200 with %j for ready", (body) => {
  expect(healthVerdict({ status: 200, body })).toEqual({ isReady: true });
});

it.each([
  [503, '{"success":true,"data":{"status":"healthy"}}', "GET /health answered 503, not 200"],
  [204, "", "GET /health answered 204, not 200"],
  [200, '{"success":false}', "GET /health answered success: false"],
  [
    200,
    '{"data":{"status":"loading"}}',
    'GET /health answered data.status "loading", not "healthy"',
  ],
  [200, '{"data":{"status":null}}', 'GET /health answered data.status null, not "healthy"'],
])("takes %i with %j for not ready, and says why", (status, body, message) => {
  expect(healthVerdict({ status, body })).toEqual({ isReady: false, message });
});

it("says no more than a line of what a program says", () => {
  const body = JSON.stringify({ data: { status: "x".repeat(60_000) } });
  const verdict = healthVerdict({ status: 200, body });
  expect(verdict.isReady).toBe(false);
  expect(JSON.stringify(verdict).length).toBeLessThan(250);
});
