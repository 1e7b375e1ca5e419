import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openKubeConfig } from "./kube-config.ts";

describe("the credentials for the API server", () => {
  const directory = mkdtempSync(path.join(tmpdir(), "berth-kubeconfig-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("are the pod's service account where no file is named, its token read from its file", () => {
    const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
    const config = openKubeConfig({ file: "", env });
    expect(config.getCurrentCluster()).toMatchObject({
      server: "https://[fd00::1]:6443",
      skipTLSVerify: false,
    });
    const tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    expect(config.getCurrentUser()?.authProvider).toEqual({
      name: "tokenFile",
      config: { tokenFile },
    });
  });

  it("are asked for by the setting's name where there are none", () => {
    expect(() => openKubeConfig({ file: "", env: {} })).toThrow(/BERTH_KUBECONFIG/);
    const file = path.join(directory, "config");
    expect(() => openKubeConfig({ file, env: {} })).toThrow(
      /BERTH_KUBECONFIG: .*config is not read/,
    );
    writeFileSync(file, "apiVersion: v1\nkind: Config\nclusters: []\n");
    expect(() => openKubeConfig({ file, env: {} })).toThrow(/no current context/);
  });
});
