import { describe, expect, it } from "vitest";
import { scrapeFaults } from "../testing/scrape-faults.ts";
import { ScrapeRegistry } from "./scrape-registry.ts";

function registry(): ScrapeRegistry {
  return new ScrapeRegistry({
    program: "test-program",
    version: "1.2.3",
    usage: {
      cpuUsage: () => ({ user: 1_500_000, system: 500_000 }),
      memoryUsage: { rss: () => 4_096 },
      uptime: () => 12.5,
    },
  });
}

describe("ScrapeRegistry", () => {
  it("tells build, CPU, memory and age of the process", async () => {
    const text = await registry().text();
    expect(text).toContain('berth_build_info{program="test-program",version="1.2.3"} 1\n');
    expect(text).toContain(
      "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 2\n",
    );
    expect(text).toContain("process_resident_memory_bytes 4096\n");
    expect(text).toContain("process_uptime_seconds 12.5\n");
  });

  it("reads families at each scrape and forgets what is gone", async () => {
    const scraped = registry();
    let nodes = ["a", "b"];
    scraped.add({
      name: "berth_nodes",
      help: "Nodes.",
      type: "gauge",
      labels: ["node"],
      observe: () => nodes.map((node, index) => ({ value: index, labels: { node } })),
    });
    expect(await scraped.text()).toContain('berth_nodes{node="b"} 1\n');
    nodes = ["a"];
    expect(await scraped.text()).not.toContain('node="b"');
  });

  it("does not add a counter up over scrapes, and leaves out what is not finite", async () => {
    const scraped = registry();
    scraped.add({
      name: "berth_things_total",
      help: "Things.",
      type: "counter",
      labels: ["kind"],
      observe: () => [
        { value: 3, labels: { kind: "good" } },
        { value: Number.NaN, labels: { kind: "bad" } },
      ],
    });
    await scraped.text();
    const text = await scraped.text();
    expect(text).toContain('berth_things_total{kind="good"} 3\n');
    expect(text).not.toContain("bad");
  });

  it("tells no value of a family without labels that has none", async () => {
    const scraped = registry();
    const values: { value: number }[] = [];
    for (const type of ["gauge", "counter"] as const) {
      scraped.add({ name: `berth_unread_${type}`, help: "Unread.", type, observe: () => values });
    }
    expect(await scraped.text()).not.toMatch(/^berth_unread/m);
    values.push({ value: 2 });
    expect(await scraped.text()).toMatch(/^berth_unread_gauge 2$/m);
    values.pop();
    expect(await scraped.text()).not.toMatch(/^berth_unread/m);
  });

  it("leaves out a family without a value, its help too", async () => {
    const unused = { cpuUsage: () => ({ user: Number.NaN, system: 0 }), uptime: () => Number.NaN };
    const scraped = new ScrapeRegistry({
      ...{ program: "test-program", version: "1.2.3" },
      usage: { ...unused, memoryUsage: { rss: () => Number.NaN } },
    });
    scraped.add({ name: "berth_none", help: "None.", type: "gauge", observe: () => [] });
    expect(await scraped.text()).toBe(
      "# HELP berth_build_info Always 1; the labels say which program and version this is.\n" +
        "# TYPE berth_build_info gauge\n" +
        'berth_build_info{program="test-program",version="1.2.3"} 1\n',
    );
  });

  it("tells a distribution as one histogram, with its buckets added up", async () => {
    const scraped = registry();
    scraped.addHistogram({
      name: "berth_wait_seconds",
      help: "Waits.",
      observe: () => ({ bounds: [0.1, 1, 10], counts: [3, 0, 2, 1], sum: 25.5 }),
    });
    const text = await scraped.text();
    expect(scrapeFaults(text)).toEqual([]);
    expect(text).toContain(`# HELP berth_wait_seconds Waits.
# TYPE berth_wait_seconds histogram
berth_wait_seconds_bucket{le="0.1"} 3
berth_wait_seconds_bucket{le="1"} 3
berth_wait_seconds_bucket{le="10"} 5
berth_wait_seconds_bucket{le="+Inf"} 6
berth_wait_seconds_sum 25.5
berth_wait_seconds_count 6
`);
  });

  it("escapes label values and refuses a name twice", async () => {
    const scraped = registry();
    const family = {
      name: "berth_odd",
      help: "Odd.",
      type: "gauge",
      labels: ["id"],
      observe: () => [{ value: 1, labels: { id: 'a"b\\c\nd' } }],
    } as const;
    scraped.add(family);
    const text = await scraped.text();
    expect(text).toContain('berth_odd{id="a\\"b\\\\c\\nd"} 1\n');
    expect(scrapeFaults(text)).toEqual([]);
    expect(() => scraped.add(family)).toThrow("already been registered");
  });
});
