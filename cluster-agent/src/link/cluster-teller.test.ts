import { type LogFields, silentLogger } from "@berth/service-kit";
import { beforeEach, describe, expect, it } from "vitest";
import type { OutboxEvent } from "./check-event.ts";
import { ClusterTeller, MAX_DOCUMENT_BYTES } from "./cluster-teller.ts";

let told: string[];
let events: OutboxEvent[];
let errors: LogFields[];

beforeEach(() => {
  told = [];
  events = [];
  errors = [];
});

function teller(limitBytes?: number): ClusterTeller {
  return new ClusterTeller({
    board: { set: (key, json) => told.push(`${key}=${json}`) },
    logger: { ...silentLogger, error: (_message, fields = {}) => errors.push(fields) },
    onEvent: (event) => events.push(event),
    ...(limitBytes === undefined ? {} : { limitBytes }),
  });
}

describe("ClusterTeller", () => {
  it("keeps the last document that fitted, and says once that the next ones do not", () => {
    const cluster = teller(10);
    for (const json of ["1234567890", "12345678901", "123456789012", "12"]) cluster.tell(json);
    expect(told).toEqual(["cluster=1234567890", "cluster=12"]);
    const sizes = { sizeBytes: 11, limitBytes: 10 };
    expect(errors).toEqual([sizes]);
    const event = { kind: "cluster_document_too_large", key: "cluster", facts: sizes };
    expect(events).toEqual([event]);
    cluster.tell("12345678901");
    expect(events).toHaveLength(2);
  });

  it("counts bytes, not characters", () => {
    teller(10).tell("ääääää");
    expect(told).toEqual([]);
    expect(errors).toEqual([{ sizeBytes: 12, limitBytes: 10 }]);
  });

  it("takes 15 MiB by default", () => {
    const cluster = teller();
    cluster.tell("x".repeat(MAX_DOCUMENT_BYTES));
    cluster.tell("x".repeat(MAX_DOCUMENT_BYTES + 1));
    expect(told).toHaveLength(1);
    expect(errors).toEqual([{ sizeBytes: 15_728_641, limitBytes: 15_728_640 }]);
  });
});
