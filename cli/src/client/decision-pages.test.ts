import { describe, expect, it } from "vitest";
import { type DecisionPaging, requestDecisions } from "./decision-pages.ts";

/** Id of a decision that was made so many seconds after the first second of 2026. */
function idAt(seconds: number): string {
  const hex = (Date.parse("2026-01-01T00:00:00Z") + seconds * 1_000).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/** A server whose pages are these, newest first; each takes so many ms. */
class Pages implements DecisionPaging {
  readonly asked: string[] = [];
  readonly told: string[] = [];
  readonly giveUpMs = 60_000;
  readonly #pages: readonly (readonly number[])[];
  readonly #pageMs: number;
  #ms = 5_000;

  constructor(pages: readonly (readonly number[])[], pageMs = 10) {
    this.#pages = pages;
    this.#pageMs = pageMs;
  }

  readonly nowMs = () => this.#ms;
  readonly onProgress = (line: string) => void this.told.push(line);

  readonly ask = async (path: string) => {
    const index = this.asked.push(path) - 1;
    this.#ms += this.#pageMs;
    const isLast = index === this.#pages.length - 1;
    const next = isLast ? {} : { next: idAt(3_600 - this.asked.length) };
    return { data: this.#pages[index], warnings: [], ...next };
  };
}

const query = new URLSearchParams({ limit: "3", cluster: "c 1" });

describe("requestDecisions", () => {
  it("goes on with the next page until it has as many as were asked for", async () => {
    const pages = new Pages([[], [9], [], [8, 7], [6]]);
    expect(await requestDecisions(query, pages)).toEqual({ decisions: [9, 8, 7] });
    expect(pages.asked).toEqual([
      "/decisions?limit=3&cluster=c+1",
      `/decisions?limit=3&cluster=c+1&before=${idAt(3_599)}`,
      `/decisions?limit=2&cluster=c+1&before=${idAt(3_598)}`,
      `/decisions?limit=2&cluster=c+1&before=${idAt(3_597)}`,
    ]);
    expect(pages.told).toEqual([]);
  });

  it("ends where there are no older decisions", async () => {
    expect(await requestDecisions(query, new Pages([[], [9]]))).toEqual({ decisions: [9] });
    expect(await requestDecisions(query, new Pages([[]]))).toEqual({ decisions: [] });
  });

  it("tells every 2 s how far it has come", async () => {
    const pages = new Pages([[9], [], [], [], []], 1_000);
    await requestDecisions(query, pages);
    expect(pages.told).toEqual([
      "1 found back to 2026-01-01T00:59:58.000Z",
      "1 found back to 2026-01-01T00:59:56.000Z",
    ]);
  });

  it("gives up after its time, and says how far it came", async () => {
    const pages = new Pages(Array(1_000).fill([]), 10_000);
    expect(await requestDecisions(query, pages)).toEqual({
      decisions: [],
      gaveUp: "0 found back to 2026-01-01T00:59:54.000Z",
    });
    expect(pages.asked).toHaveLength(6);
  });

  it("does not follow a server that goes on at the same place", async () => {
    let asked = 0;
    const ask = async () => {
      asked += 1;
      return { data: [], warnings: [], next: "\u001b[31mhere" };
    };
    const pages = { ...{ ask, giveUpMs: 60_000 }, nowMs: () => 0, onProgress: () => undefined };
    expect(await requestDecisions(query, pages)).toEqual({ decisions: [] });
    expect(asked).toBe(2);
  });
});
