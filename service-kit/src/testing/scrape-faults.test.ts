import { describe, expect, it } from "vitest";
import { scrapeFaults } from "./scrape-faults.ts";

const GOOD = `# HELP berth_gpus GPUs by state.
# TYPE berth_gpus gauge
berth_gpus{cluster="a",state="free"} 3
berth_gpus{cluster="a\\\\b\\"c\\n",state="free"} -1.5e-3

# HELP berth_things_total Things.
# TYPE berth_things_total counter
berth_things_total 0

# HELP berth_wait_seconds Waits.
# TYPE berth_wait_seconds histogram
berth_wait_seconds_bucket{le="0.1"} 1
berth_wait_seconds_bucket{le="+Inf"} 2
berth_wait_seconds_sum 7.5
berth_wait_seconds_count 2
`;

const family = (name: string, type: string, ...samples: string[]) =>
  [`# HELP ${name} Help.`, `# TYPE ${name} ${type}`, ...samples, ""].join("\n");

describe("scrapeFaults", () => {
  it("finds none in what is as it should be", () => {
    expect(scrapeFaults(GOOD)).toEqual([]);
    expect(
      scrapeFaults(family("s", "summary", 's{quantile="0.5"} 1', "s_sum 2", "s_count 2")),
    ).toEqual([]);
  });

  it.each<[string, string, string]>([
    ["nothing", "", "there is no family"],
    ["an open end", "x", "the last line has no end"],
    ["a sample alone", "a 1\n", "expected HELP and TYPE"],
    ["no type", "# HELP a A.\na 1\n", "expected HELP and TYPE"],
    ["another's type", "# HELP a A.\n# TYPE b gauge\na 1\n", "expected HELP and TYPE"],
    ["an unknown type", family("a", "number", "a 1"), "expected HELP and TYPE"],
    ["a family without samples", family("a", "gauge"), "a: has no sample"],
    ["a family twice", family("a", "gauge", "a 1").repeat(2), "a: stands twice"],
    ["a counter without _total", family("a", "counter", "a 1"), "a: is a counter"],
    ["a gauge with _total", family("a_total", "gauge", "a_total 1"), "a_total: is a gauge"],
    ["a sum alone", family("a_sum", "gauge", "a_sum 1"), "a_sum: ends as parts"],
    ["a count alone", family("a_count", "gauge", "a_count 1"), "a_count: ends as parts"],
    ["another's sample", family("a", "gauge", "b 1"), "a: b is not of it"],
    ["a series twice", family("a", "gauge", 'a{x="1",y="2"} 1', 'a{y="2",x="1"} 2'), "twice"],
    ["a label twice", family("a", "gauge", 'a{x="1",x="2"} 1'), "is no sample"],
    ["an open label", family("a", "gauge", 'a{x="1} 1'), "is no sample"],
    ["a bad escape", family("a", "gauge", 'a{x="\\t"} 1'), "is no sample"],
    ["a value that is none", family("a", "gauge", "a undefined"), "is no sample"],
    ["a counter below 0", family("a_total", "counter", "a_total -1"), "is below 0"],
    ["no buckets", family("a", "histogram", "a_sum 1", "a_count 1"), "a: has no buckets"],
    [
      "buckets without an end",
      family("a", "histogram", 'a_bucket{le="1"} 1', "a_sum 1", "a_count 1"),
      'a: its last bucket is not "+Inf"',
    ],
    [
      "buckets that fall",
      family("a", "histogram", 'a_bucket{le="1"} 2', 'a_bucket{le="+Inf"} 1', "a_sum 1"),
      "a: its buckets do not rise",
    ],
    [
      "another count",
      family("a", "histogram", 'a_bucket{le="+Inf"} 1', "a_sum 1", "a_count 2"),
      "a: its count is another",
    ],
    ["no sum", family("a", "histogram", 'a_bucket{le="+Inf"} 1', "a_count 1"), "a: it has no sum"],
  ])("finds %s", (_what, text, fault) => {
    expect(scrapeFaults(text).join("\n")).toContain(fault);
  });
});
