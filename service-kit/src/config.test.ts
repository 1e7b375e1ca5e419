import { describe, expect, it } from "vitest";
import {
  choiceSetting,
  integerSetting,
  listSetting,
  loadConfig,
  loopbackHostSetting,
  portSetting,
  textSetting,
} from "./config.ts";

const settings = {
  port: portSetting({ env: "BERTH_HTTP_PORT", doc: "port", fallback: 8_000 }),
  count: integerSetting({ env: "COUNT", doc: "count", fallback: -1, min: -5, max: 5 }),
  mode: choiceSetting({ env: "MODE", doc: "mode", fallback: "a", choices: ["a", "b"] }),
  tags: listSetting({ env: "TAGS", doc: "tags", fallback: ["x"] }),
  name: textSetting({ env: "NAME", doc: "name", fallback: "local" }),
};

describe("loadConfig", () => {
  it.each([{}, { BERTH_HTTP_PORT: "", COUNT: "", MODE: "", TAGS: "", NAME: "" }])(
    "takes fallbacks for variables that are absent or empty: %j",
    (env) => {
      expect(loadConfig(settings, env)).toEqual({
        kind: "loaded",
        config: { port: 8_000, count: -1, mode: "a", tags: ["x"], name: "local" },
      });
    },
  );

  it("reads every kind of setting, and gives a frozen object", () => {
    const env = {
      BERTH_HTTP_PORT: "0",
      COUNT: " -5 ",
      MODE: "b",
      TAGS: " a, b ,,c ",
      NAME: " as is ",
    };
    const loaded = loadConfig(settings, env);
    expect(loaded).toEqual({
      kind: "loaded",
      config: { port: 0, count: -5, mode: "b", tags: ["a", "b", "c"], name: " as is " },
    });
    expect(Object.isFrozen(loaded.kind === "loaded" && loaded.config)).toBe(true);
  });

  it("reports every problem at once, each with its variable and what was expected", () => {
    const env = { BERTH_HTTP_PORT: "99999", COUNT: "x", MODE: "c" };
    expect(loadConfig(settings, env)).toEqual({
      kind: "invalid",
      problems: [
        'BERTH_HTTP_PORT="99999": expected a whole number from 0 to 65535',
        'COUNT="x": expected a whole number from -5 to 5',
        'MODE="c": expected one of a, b',
      ],
    });
  });

  it.each(["   ", "0x10", "1e3", "1.5", "1.0", "-1", "65536", "8000abc", "∞", "NaN"])(
    "does not read %j as a port",
    (text) => {
      expect(loadConfig(settings, { BERTH_HTTP_PORT: text }).kind).toBe("invalid");
    },
  );
});

describe("a required setting", () => {
  const token = textSetting({ env: "TOKEN", doc: "shown to the server", fallback: "" });
  const required = { token: { ...token, required: true } };

  it.each([{}, { TOKEN: "" }])("is a problem when it is not set: %j", (env) => {
    expect(loadConfig(required, env)).toEqual({
      kind: "invalid",
      problems: ["TOKEN is not set: shown to the server"],
    });
  });

  it("is read as it is", () => {
    expect(loadConfig(required, { TOKEN: "t" })).toMatchObject({ config: { token: "t" } });
  });
});

describe("loopbackHostSetting", () => {
  const host = { host: loopbackHostSetting() };

  it.each(["127.0.0.1", "127.1.2.3", "localhost", "::1"])("accepts %s", (text) => {
    expect(loadConfig(host, { BERTH_HOST: text })).toMatchObject({ config: { host: text } });
  });

  it.each(["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.com", "localhost.example.com", "*"])(
    "refuses %s and says why",
    (text) => {
      expect(loadConfig(host, { BERTH_HOST: text })).toEqual({
        kind: "invalid",
        problems: [
          `BERTH_HOST="${text}": expected a loopback address; others are refused until TLS is set up`,
        ],
      });
    },
  );
});
