import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { type ProcessLike, processContext } from "./process-context.ts";

class FakeStream extends EventEmitter {
  readonly calls: string[] = [];
  isTTY: boolean;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  setRawMode(raw: boolean): this {
    this.calls.push(`raw ${raw}`);
    return this;
  }

  resume(): this {
    this.calls.push("resume");
    return this;
  }

  pause(): this {
    this.calls.push("pause");
    return this;
  }
}

function contextOf(isTTY: boolean) {
  const [stdin, stdout, stderr] = [1, 2, 3].map(() => new FakeStream(isTTY));
  const rest = { argv: ["node", "berth", "top"], env: {}, cwd: () => "/", on: () => undefined };
  const process = { ...rest, stdin, stdout, stderr } as unknown as ProcessLike;
  return { context: processContext(process), stdin, stdout };
}

describe("processContext", () => {
  it("gives keys as they are typed, and the terminal back as it was", () => {
    const { context, stdin } = contextOf(true);
    const typed: string[] = [];
    const release = context.onKeys((text) => typed.push(text));
    stdin?.emit("data", Buffer.from("q"));
    release();
    stdin?.emit("data", Buffer.from("x"));
    expect(typed).toEqual(["q"]);
    expect(stdin?.calls).toEqual(["raw true", "resume", "pause", "raw false"]);
  });

  it("takes a terminal that is gone for the end of what is typed", () => {
    for (const event of ["end", "error"]) {
      const { context, stdin } = contextOf(true);
      const typed: string[] = [];
      const release = context.onKeys((text) => typed.push(text));
      stdin?.emit(event, new Error("read EIO"));
      expect(typed).toEqual(["\u0004"]);
      Object.assign(stdin ?? {}, { destroyed: true });
      release();
      expect(stdin?.calls).toEqual(["raw true", "resume", "pause"]);
    }
  });

  it("leaves an input alone that is no terminal", () => {
    const { context, stdin } = contextOf(false);
    context.onKeys(() => undefined)();
    expect(stdin?.calls).toEqual([]);
    expect(stdin?.listenerCount("data")).toBe(0);
  });

  it("tells of another size, and of an output that takes no more", () => {
    const { context, stdout } = contextOf(true);
    const told: unknown[] = [];
    const release = context.onResize(() => told.push("resized"));
    context.onOutputClosed((why) => told.push(why.message));
    stdout?.emit("resize");
    release();
    stdout?.emit("resize");
    stdout?.emit("error", new Error("write EPIPE"));
    expect(told).toEqual(["resized", "write EPIPE"]);
  });
});
