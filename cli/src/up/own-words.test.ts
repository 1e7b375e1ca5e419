import { describe, expect, it } from "vitest";
import { PROGRAM_NAMES, programEnvironment } from "./environment.ts";
import { upSettings } from "./options.ts";
import { inOwnWords } from "./own-words.ts";

describe("inOwnWords", () => {
  it("names the setting that moves the port, whatever the program calls it", () => {
    const taken = (setting: string) =>
      `port 1 on 127.0.0.1 is taken by another program; set ${setting} to another port`;
    expect(inOwnWords("cluster-agent", taken("BERTH_HTTP_PORT"))).toBe(
      taken("--cluster-port (BERTH_CLUSTER_PORT)"),
    );
    expect(inOwnWords("control-plane", taken("BERTH_HTTP_PORT"))).toBe(
      taken("--http-port (BERTH_HTTP_PORT)"),
    );
  });

  it("has a flag for everything that a program is given by one", () => {
    const flags = {
      ...{ httpPort: "1111", wsPort: "1112", agentPort: "1113", clusterPort: "1114" },
      ...{ nodePort: "1115", agentHost: "127.1.1.1", nodeHost: "127.1.1.2" },
      ...{ clusterId: "the-cluster", nodeId: "the-node" },
    };
    const settings = upSettings(flags, {}, "/");
    const sources = { settings, tokens: { link: "L", node: "N" }, callerEnv: {} };
    const seen = new Set<string>();
    for (const program of PROGRAM_NAMES) {
      for (const [name, value] of Object.entries(programEnvironment(program, sources))) {
        const key = Object.entries(flags).find(([, given]) => given === value)?.[0];
        if (key === undefined) continue;
        const words = key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
        const own = `--${words.join("-")} (BERTH_${words.join("_").toUpperCase()})`;
        expect(inOwnWords(program, `set ${name}!`)).toBe(`set ${own}!`);
        seen.add(key);
      }
    }
    expect([...seen].sort()).toEqual(Object.keys(flags).sort());
  });

  it("leaves everything else as it is", () => {
    for (const text of ["BERTH_NVIDIA_SMI: not found", "XBERTH_HTTP_PORT", "no setting"]) {
      expect(inOwnWords("node-agent", text)).toBe(text);
    }
    expect(inOwnWords("node-agent", "BERTH_DATA_DIR: no room")).toBe(
      "--data-dir (BERTH_DATA_DIR): no room",
    );
    expect(inOwnWords("another", "BERTH_HTTP_PORT")).toBe("BERTH_HTTP_PORT");
  });
});
