import { KubeApi, type KubeObject } from "../../support/kubernetes/kube-api.ts";
import type { Kubernetes } from "../../support/kubernetes/start-kubernetes.ts";

interface Made extends KubeObject {
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** Where the kinds of a block's objects are. */
const PLACES = {
  root: { apiVersion: "v1", kind: "ConfigMap", folder: "/api/v1", plural: "configmaps" },
  deployment: {
    ...{ apiVersion: "apps/v1", kind: "Deployment" },
    ...{ folder: "/apis/apps/v1", plural: "deployments" },
  },
  service: { apiVersion: "v1", kind: "Service", folder: "/api/v1", plural: "services" },
};
type Kind = keyof typeof PLACES;
/** Fields of a Service that the API server gives, and gives to one only. */
const GIVEN_FIELDS = new Set(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);

/**
 * The objects of a block without Berth: copies of one that the agent has made, applied server-side one after the other over one
 * connection that is kept. The agent does not see them: they have another cluster's label.
 */
export class RawBlocks {
  readonly #api: KubeApi;
  readonly #namespace: string;
  readonly #blockId: string;
  readonly #objects: Readonly<Record<Kind, readonly Made[]>>;

  private constructor(api: KubeApi, copied: Copied, objects: Record<Kind, readonly Made[]>) {
    this.#api = api;
    this.#namespace = copied.namespace;
    this.#blockId = copied.blockId;
    this.#objects = objects;
  }

  static async copy(kubernetes: Kubernetes, copied: Copied): Promise<RawBlocks> {
    const api = new KubeApi(kubernetes.access);
    const listed = async (kind: Kind) => {
      const { folder, plural } = PLACES[kind];
      const path = `${folder}/namespaces/${copied.namespace}/${plural}`;
      const selector = encodeURIComponent(`blockID=${copied.blockId}`);
      const list = await api.get<{ items: readonly Made[] }>(`${path}?labelSelector=${selector}`);
      return list.items.map((object) => wanted(kind, object));
    };
    const objects = {
      root: await listed("root"),
      deployment: await listed("deployment"),
      service: await listed("service"),
    };
    return new RawBlocks(api, copied, objects);
  }

  /** Applies all objects of a block of this id. */
  async create(blockId: string): Promise<void> {
    const [root] = this.#objects.root;
    if (root === undefined) throw new Error(`block ${this.#blockId} has no root`);
    const owner = await this.#apply("root", { blockId, object: root });
    for (const object of this.#objects.deployment) {
      const deployment = await this.#apply("deployment", { blockId, object, owner });
      const service = this.#objects.service.find(
        ({ metadata }) => metadata.name === `${object.metadata.name}-svc`,
      );
      if (service === undefined) throw new Error(`${object.metadata.name} has no Service`);
      await this.#apply("service", { blockId, object: service, owner: deployment });
    }
  }

  /** Asks for the end of a block: the root goes as the last. */
  async remove(blockId: string): Promise<void> {
    const [root] = this.#objects.root;
    const name = renamed(root?.metadata.name ?? "", this.#blockId, blockId);
    const body = { propagationPolicy: "Foreground" };
    await this.#api.request("DELETE", this.#path("root", name), { body });
  }

  close(): void {
    this.#api.close();
  }

  async #apply(
    kind: Kind,
    given: { readonly blockId: string; readonly object: Made; readonly owner?: KubeObject },
  ): Promise<KubeObject> {
    const { blockId, object, owner } = given;
    const text = renamed(JSON.stringify(object), this.#blockId, blockId);
    const { metadata, ...rest } = JSON.parse(text) as Made;
    const ownerReferences = owner === undefined ? [] : [referenceTo(owner)];
    const path = `${this.#path(kind, metadata.name)}?fieldManager=bench&force=true`;
    const made = await this.#api.request("PATCH", path, {
      body: { ...rest, metadata: { ...metadata, ownerReferences } },
      contentType: "application/apply-patch+yaml",
    });
    const { apiVersion, kind: kindName } = PLACES[kind];
    return { ...made, apiVersion, kind: kindName };
  }

  #path(kind: Kind, name: string): string {
    const { folder, plural } = PLACES[kind];
    return `${folder}/namespaces/${this.#namespace}/${plural}/${name}`;
  }
}

/** Which block is copied. */
export interface Copied {
  readonly namespace: string;
  readonly blockId: string;
}

/** An object as it was asked for, of another cluster. */
function wanted(kind: Kind, { metadata, spec }: Made): Made {
  const { name, namespace, labels, annotations } = metadata;
  const { apiVersion, kind: kindName } = PLACES[kind];
  const asked = Object.entries(spec ?? {}).filter(([field]) => !GIVEN_FIELDS.has(field));
  const object = {
    ...{ apiVersion, kind: kindName, metadata: { name, namespace, labels, annotations } },
    ...(spec === undefined ? {} : { spec: Object.fromEntries(asked) }),
  };
  const text = JSON.stringify(object);
  return JSON.parse(text.replaceAll(/"berth\.dev\/cluster":"[^"]*"/g, '"berth.dev/cluster":"raw"'));
}

function renamed(text: string, from: string, to: string): string {
  return text.replaceAll(from, to);
}

function referenceTo({ apiVersion, kind, metadata: { name, uid } }: KubeObject): object {
  return { apiVersion, kind, name, uid, blockOwnerDeletion: true };
}
