import { describe, expect, it } from "vitest";
import {
  type LifecycleEvent,
  type LifecycleRecord,
  lifecycleRefusal,
  lifecycleStep,
} from "./node-lifecycle.ts";

const now = "2026-11-22T12:00:00.000Z";
const onboard: LifecycleEvent = { kind: "onboard", entryJson: '{"id":"n"}' };
const drain: LifecycleEvent = { kind: "drain", operationId: "op" };

/** Where a node stands after a history of events; the first one that is refused ends it. */
function after(events: readonly LifecycleEvent[]): LifecycleRecord | string | undefined {
  let record: LifecycleRecord | undefined;
  for (const event of events) {
    const step = lifecycleStep({ nodeId: "n", before: record, now }, event);
    if (step.kind === "refused") return `${step.reason}: ${step.message}`;
    if (step.kind === "moved") record = step.record;
  }
  return record;
}

const EVENTS: Readonly<Record<string, LifecycleEvent>> = {
  onboard,
  join: { kind: "join" },
  cordon: { kind: "cordon" },
  uncordon: { kind: "uncordon" },
  drain,
  "drain failed": { kind: "drain_failed", operationId: "op" },
  "another drain": { kind: "drain", operationId: "op2" },
  retire: { kind: "retire", operationId: "op" },
};
const stateAfter = (...names: string[]) => {
  const found = after(names.map((name) => EVENTS[name] as LifecycleEvent));
  return typeof found === "object" ? found.state : found;
};

describe("lifecycleStep", () => {
  it("makes a node that is told of expected, and only a join ready", () => {
    expect(stateAfter("onboard")).toBe("expected");
    expect(stateAfter("onboard", "onboard")).toBe("expected");
    expect(stateAfter("onboard", "cordon")).toBe(
      'PRECONDITION_FAILED: node "n" has not joined yet',
    );
    expect(after([onboard, { kind: "join" }])).toEqual({
      ...{ state: "ready", since: now, entryJson: '{"id":"n"}' },
    });
    expect(stateAfter("join")).toBe("ready");
  });

  it("keeps where a node stands when it joins again or is told of again", () => {
    expect(stateAfter("join", "cordon", "join")).toBe("cordoned");
    expect(stateAfter("join", "cordon", "onboard")).toBe("cordoned");
    expect(stateAfter("join", "drain", "join")).toBe("draining");
  });

  it("cordons and uncordons, as often as it is asked to", () => {
    expect(stateAfter("join", "cordon", "cordon")).toBe("cordoned");
    expect(stateAfter("join", "cordon", "uncordon", "uncordon")).toBe("ready");
  });

  it("stops a drain when it is uncordoned, and that drain does not begin again", () => {
    expect(stateAfter("join", "drain", "uncordon")).toBe("ready");
    expect(stateAfter("onboard", "drain", "uncordon")).toBe("expected");
    expect(stateAfter("join", "drain", "uncordon", "drain failed")).toBe("ready");
    expect(stateAfter("join", "drain", "uncordon", "retire")).toMatch(/^CONFLICT/);
    expect(stateAfter("join", "drain", "uncordon", "drain")).toMatch(/^CONFLICT: .*was uncordoned/);
    expect(stateAfter("join", "drain", "uncordon", "another drain")).toBe("draining");
  });

  it("removes a node that was drained, and refuses it until it is onboarded again", () => {
    expect(stateAfter("join", "drain", "drain", "retire", "retire")).toBe("removed");
    expect(stateAfter("join", "drain", "retire", "join")).toContain('node "n" was removed');
    expect(stateAfter("join", "drain", "retire", "onboard", "join")).toBe("ready");
    expect(after([{ kind: "join" }, drain, { kind: "retire", operationId: "op" }])).toEqual({
      ...{ state: "removed", since: now, operationId: "op" },
    });
  });

  it("leaves a node whose drain failed out of use, and one that never joined expected", () => {
    expect(stateAfter("join", "drain", "drain failed")).toBe("cordoned");
    expect(stateAfter("onboard", "drain", "drain failed")).toBe("expected");
    expect(stateAfter("join", "drain", "another drain", "drain failed")).toBe("draining");
    expect(stateAfter("join", "drain", "drain failed", "drain failed")).toBe("cordoned");
  });

  it("removes nothing that is not drained by the operation that asks", () => {
    expect(stateAfter("join", "retire")).toMatch(/^CONFLICT: .*not being drained$/);
    expect(stateAfter("join", "another drain", "retire")).toMatch(/^CONFLICT/);
  });

  it.each(["cordon", "uncordon", "drain", "retire"])("knows no node to %s", (event) => {
    expect(stateAfter(event)).toBe("NOT_FOUND: Node n not found in cluster");
  });

  it("lets the drain that removed a node find it removed, and no other one", () => {
    expect(stateAfter("join", "drain", "retire", "drain")).toBe("removed");
    expect(stateAfter("join", "drain", "retire", "another drain")).toMatch(/^NOT_FOUND/);
  });
});

describe("lifecycleRefusal", () => {
  it("lets new instances go to ready nodes only", () => {
    expect(lifecycleRefusal("ready")).toBeUndefined();
    expect(lifecycleRefusal("expected")).toBe("it has not joined yet");
    expect(lifecycleRefusal("cordoned")).toBe("cordoned");
  });
});
