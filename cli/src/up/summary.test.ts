import { describe, expect, it } from "vitest";
import { readClusterDocument } from "../cluster-view.ts";
import { upSettings } from "./options.ts";
import { describeGpus, describeNode, renderSummary } from "./summary.ts";

const gpu = (modelName: string) => ({ id: "0", modelName, memory: 1, state: "free" });
const document = {
  id: "local",
  status: "live",
  nodes: {
    count: 1,
    nodeData: [
      {
        id: "box",
        vcpus: { count: 64 },
        memory: 515_072,
        gpus: { count: 3, gpus: [gpu("NVIDIA H100"), gpu("T4"), gpu("NVIDIA H100")] },
        nodeMetadata: { cpuModel: "AMD EPYC 9654" },
      },
    ],
  },
};

describe("summary", () => {
  it("prints URLs, cluster, node, data directory and the next command", () => {
    const cluster = readClusterDocument(document);
    if (cluster === undefined) throw new Error("the document was not read");
    const settings = upSettings({ dataDir: "/d" }, {}, "/");
    expect(renderSummary({ settings, cluster, tookMs: 3_210, localCpuModel: "x" })).toEqual([
      "",
      "Berth is ready (3.2 s)",
      "  REST            http://127.0.0.1:8000",
      "  WebSocket       ws://127.0.0.1:8765",
      "  cluster agent   http://127.0.0.1:32000",
      "  cluster         local (live, 1 node)",
      "  node            box: AMD EPYC 9654, 64 cores; 503.0 GiB memory; GPUs: 2 x NVIDIA H100, 1 x T4",
      "  data directory  /d",
      "",
      "Try next, in another terminal:",
      "  npx berth policy publish examples/policies/least-loaded",
      "  npx berth allocate --policy least-loaded:1.0.0-stable",
      "",
      "Ctrl-C stops the fleet.",
    ]);
  });

  it("lets no model name reach the terminal as a command", () => {
    const model = "H100\u001b[2J\u001b]0;owned\u0007\r\nBerth is gone";
    const node = { id: "n", cpuModel: "X\u009b31m", cores: 1, memoryMiB: 1, gpuModels: [model] };
    const cluster = { id: "local", status: "live", nodes: [node] };
    const settings = upSettings({ dataDir: "/d" }, {}, "/");
    const lines = renderSummary({ settings, cluster, tookMs: 1, localCpuModel: undefined });
    expect(lines.find((line) => line.includes("H100"))).toContain("1 x H100");
    expect(lines.join("")).not.toMatch(/\p{Cc}/u);
  });

  it("shows the ports that other machines' agents may dial", () => {
    const cluster = readClusterDocument(document);
    if (cluster === undefined) throw new Error("the document was not read");
    const env = { BERTH_AGENT_HOST: "0.0.0.0", BERTH_NODE_HOST: "127.0.0.2" };
    const settings = upSettings({ dataDir: "/d" }, env, "/");
    const lines = renderSummary({ settings, cluster, tookMs: 1, localCpuModel: "x" });
    expect(lines).toContain("  cluster-agents dial  https://0.0.0.0:7443");
    expect(lines).toContain("  node-agents dial     http://127.0.0.2:32001");
  });

  it("uses this machine's processor when the document names none", () => {
    const node = { id: "n", cpuModel: undefined, cores: 1, memoryMiB: 512, gpuModels: [] };
    expect(describeNode(node, "Xeon")).toBe("n: Xeon, 1 core; 0.5 GiB memory; GPUs: none");
    expect(describeNode(node, undefined)).toBe("n: 1 core; 0.5 GiB memory; GPUs: none");
  });

  it("counts GPUs by model", () => {
    expect(describeGpus([])).toBe("none");
    expect(describeGpus(["A", "A"])).toBe("2 x A");
  });
});

describe("readClusterDocument", () => {
  it.each([null, 1, "x", [], {}, { id: "a" }, { success: false }])("takes %j for none", (value) => {
    expect(readClusterDocument(value)).toBeUndefined();
  });

  it("survives documents without their parts", () => {
    expect(readClusterDocument({ id: "a", status: "live" })).toEqual({
      id: "a",
      status: "live",
      nodes: [],
    });
    const bare = { id: "a", status: "live", nodes: { nodeData: [null, { id: "n" }] } };
    expect(readClusterDocument(bare)?.nodes.map((node) => node.id)).toEqual(["?", "n"]);
  });
});
