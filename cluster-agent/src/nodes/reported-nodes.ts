/** A node as Kubernetes tells of it, by the label `nodeID`. */
export interface ReportedNode {
  readonly nodeId: string;
  /** What Kubernetes calls it; that of one of them where several have the label. */
  readonly name: string;
  /** It is Ready, and the only one with its id. */
  readonly isReady: boolean;
  /** Why nothing new is to go there, for people; absent when it may. */
  readonly refusal?: string;
  /** What pods may have of it. */
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
  /** Texts about it; empty where unknown. */
  readonly osRelease: string;
  readonly kernelRelease: string;
  readonly architecture: string;
}

/** What Kubernetes said last of each node. One that it does not tell of, or no more, takes nothing new: a pod could not go there. */
export class ReportedNodes {
  readonly #nodes = new Map<string, ReportedNode>();

  /** Undefined for a node that Kubernetes has not told of since our start. */
  get(id: string): ReportedNode | undefined {
    return this.#nodes.get(id);
  }

  /**
   * Takes in all that Kubernetes tells of now, and of which nodes it should; gives the ids of those of which it tells otherwise
   * than before.
   */
  replace(reported: readonly ReportedNode[], known: Iterable<string>): readonly string[] {
    const now = new Map(reported.map((node) => [node.nodeId, node]));
    for (const id of new Set([...this.#nodes.keys(), ...known])) {
      const last = this.#nodes.get(id) ?? unbounded(id);
      if (!now.has(id)) now.set(id, { ...last, isReady: false, refusal: absentRefusal(id) });
    }
    const before = this.#nodes;
    const changed = [...now].filter(([id, node]) => !isSame(before.get(id), node));
    for (const [id, node] of changed) this.#nodes.set(id, node);
    return changed.map(([id]) => id);
  }
}

/** Whether only Kubernetes has told of a node: no agent of it has ever joined. */
export function isReportedOnly({ reporter }: { readonly reporter?: "kubernetes" }): boolean {
  return reporter === "kubernetes";
}

function absentRefusal(id: string): string {
  return `Kubernetes has no node with the label nodeID=${id}`;
}

/** A node of whose amounts Kubernetes says nothing. */
function unbounded(nodeId: string): ReportedNode {
  const most = Number.POSITIVE_INFINITY;
  return {
    ...{ nodeId, name: "", isReady: false, cpuMillis: most, memoryMiB: most, storageMiB: most },
    ...{ osRelease: "", kernelRelease: "", architecture: "" },
  };
}

function isSame(a: ReportedNode | undefined, b: ReportedNode): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
