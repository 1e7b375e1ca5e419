import { describe, expect, it } from "vitest";
import { DEFAULT_AGENT, parseServer, readAnswer } from "./http.ts";

const read = (text: string, status = 200) => readAnswer({ status, text }, { url: "http://s" });

describe("parseServer", () => {
  it.each([
    ["http://127.0.0.1:8000", "http://127.0.0.1:8000"],
    ["http://127.0.0.1:8000/", "http://127.0.0.1:8000"],
    ["localhost:9000", "http://localhost:9000"],
    ["https://berth.example/base/", "https://berth.example/base"],
  ])("reads %s", (text, url) => {
    expect(parseServer(text)).toBe(url);
  });

  it.each(["ftp://x", "http://", "http://a b", ""])("refuses %j", (text) => {
    expect(() => parseServer(text)).toThrow("--server");
  });

  it("names the option of another program", () => {
    expect(() => parseServer("ftp://x", "--agent", DEFAULT_AGENT)).toThrow(
      '--agent "ftp://x": expected an address such as http://127.0.0.1:32000',
    );
  });
});

describe("readAnswer", () => {
  it("gives the data of a success", () => {
    expect(read('{"success":true,"data":[1]}').data).toEqual([1]);
    expect(read('{"success":true}').data).toBeNull();
    expect(read('{"success":true,"data":1,"warnings":["w"]}').warnings).toEqual(["w"]);
  });

  it("takes a bare list for data, as the cluster registry sends it", () => {
    expect(read('[{"id":"c"}]').data).toEqual([{ id: "c" }]);
  });

  it("throws the server's own message and reason", () => {
    const text = '{"success":false,"error":"e","message":"no policy x","reason":"NOT_FOUND"}';
    expect(() => read(text, 404)).toThrow("no policy x (NOT_FOUND)");
    expect(() => read('{"success":false,"error":"old form"}', 500)).toThrow("old form");
  });

  it("shows nothing that a terminal would obey, whoever wrote the message", () => {
    const message = String.raw`boom \u001b]0;title\u0007\n  \u001b[31mred \u009b2J \u202e`;
    const refused = `{"success":false,"message":"${message}","reason":"POLICY\\u001b[0m"}`;
    expect(() => read(refused, 400)).toThrow(
      "boom \ufffd]0;title\ufffd \ufffd[31mred \ufffd2J \ufffd (POLICY\ufffd[0m)",
    );
    const warned = read(`{"success":true,"warnings":["${message}"]}`);
    expect(warned.warnings).toEqual(["boom \ufffd]0;title\ufffd \ufffd[31mred \ufffd2J \ufffd"]);
  });

  it.each(["", "<html>", "[]", "{}", '"x"', "null"])(
    "says that %j does not come from a control-plane",
    (text) => {
      expect(() => read(text, 502)).toThrow(
        "http://s answered HTTP 502, but not as a Berth control-plane does: check --server or BERTH_SERVER",
      );
    },
  );

  it("names another program and its option", () => {
    const agent = {
      url: "http://a",
      noun: "cluster-agent",
      chosenBy: "--agent or BERTH_AGENT_SERVER",
    };
    expect(() => readAnswer({ status: 200, text: "{}" }, agent)).toThrow(
      "http://a answered HTTP 200, but not as a Berth cluster-agent does: check --agent or BERTH_AGENT_SERVER",
    );
  });
});
