import { parseAllDocuments } from "yaml";
import type { KubeApi, KubeObject } from "./kube-api.ts";

interface ResourceList {
  readonly resources: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
  }[];
}

/**
 * Applies the objects of YAML text (any number of documents), in their order, server-side and with force:
 * what `kubectl apply -f` does. An object without a namespace goes to "default" if its kind needs one.
 */
export async function applyManifests(api: KubeApi, text: string): Promise<readonly KubeObject[]> {
  const applied: KubeObject[] = [];
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS();
    if (object === null) continue;
    applied.push(await applyObject(api, object));
  }
  return applied;
}

/** Applies one object, as {@link applyManifests} does. */
export async function applyObject(api: KubeApi, object: KubeObject): Promise<KubeObject> {
  return api.request("PATCH", `${await pathOf(api, object)}?fieldManager=test&force=true`, {
    body: object,
    contentType: "application/apply-patch+yaml",
  });
}

/** Path of an object: "/apis/apps/v1/namespaces/default/deployments/web". */
export async function pathOf(api: KubeApi, object: KubeObject): Promise<string> {
  const { apiVersion = "v1", kind, metadata } = object;
  const folder = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const { resources } = await api.get<ResourceList>(folder);
  const found = resources.find(({ name, kind: is }) => is === kind && !name.includes("/"));
  if (found === undefined) throw new Error(`the API server has no ${kind} of ${apiVersion}`);
  const scope = found.namespaced ? `/namespaces/${metadata.namespace ?? "default"}` : "";
  return `${folder}${scope}/${found.name}/${metadata.name}`;
}
