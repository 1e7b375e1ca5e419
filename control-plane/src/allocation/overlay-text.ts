import type { GpuEntry, GpuMetrics, NodeEntry, NodeMetrics } from "@berth/proto";
import {
  itemsOf,
  type Span,
  type Splice,
  setMember,
  spliced,
  valueAt,
  wholeOf,
} from "@berth/service-kit";

/** How a text holds nodes, and a node its GPUs. */
export interface NodeLayout<N> {
  /** Path to the list of nodes, and from a node to the list of its GPUs. */
  readonly nodesPath: readonly string[];
  readonly gpusPath: readonly string[];
  readonly gpusOf: (node: N) => readonly (GpuEntry | GpuMetrics)[];
}

/** The layout of a cluster document. */
export const DOCUMENT_LAYOUT: NodeLayout<NodeEntry> = {
  nodesPath: ["nodes", "nodeData"],
  gpusPath: ["gpus", "gpus"],
  gpusOf: (entry) => entry.gpus.gpus,
};

/** The layout of cluster metrics. */
export const METRICS_LAYOUT: NodeLayout<NodeMetrics> = {
  nodesPath: ["nodes"],
  gpusPath: ["gpus"],
  gpusOf: (node) => node.gpus,
};

/** A number beside the nodes: the path to the object that has it, its name and its value. */
export type NumberBeside = readonly [path: readonly string[], name: string, value: number];

interface OverlayNode {
  readonly free_gpus?: number;
}

/**
 * A text in which GPU states and numbers of free GPUs are set as changed nodes have them. Everything else stays
 * as it was written: 10.0 stays a float, and large integers keep their digits.
 */
export class OverlayText<N extends OverlayNode> {
  readonly #json: string;
  readonly #layout: NodeLayout<N>;
  readonly #nodes: readonly Span[];
  /** Texts of changed nodes, which are looked at again and again as long as they live. */
  readonly #texts = new WeakMap<N, string>();

  /** @param json the text as its owner wrote it */
  constructor(json: string, layout: NodeLayout<N>) {
    this.#json = json;
    this.#layout = layout;
    const list = valueAt(json, layout.nodesPath);
    this.#nodes = list === undefined ? [] : itemsOf(json, list);
  }

  /** The text with some nodes changed; both lists are the whole one, in the order of the text. */
  with(before: readonly N[], after: readonly N[], beside: readonly NumberBeside[] = []): string {
    const ofNodes = after.flatMap((node, index): Splice[] => {
      const old = before[index];
      const span = this.#nodes[index];
      if (old === node || old === undefined) return [];
      if (span === undefined) throw new Error("a node of the document is not in its text");
      return [{ ...span, text: this.#nodeText(span, old, node) }];
    });
    const ofOthers = beside.flatMap(([path, name, value]): Splice[] => {
      const span = valueAt(this.#json, path);
      return span === undefined ? [] : [setMember(this.#json, span, [name, String(value)])];
    });
    return spliced(this.#json, [...ofNodes, ...ofOthers]);
  }

  #nodeText(span: Span, old: N, node: N): string {
    const known = this.#texts.get(node);
    if (known !== undefined) return known;
    const json = this.#json.slice(span.start, span.end);
    const { gpusPath, gpusOf } = this.#layout;
    const list = valueAt(json, gpusPath);
    const spans = list === undefined ? [] : itemsOf(json, list);
    const oldGpus = gpusOf(old);
    const splices = gpusOf(node).flatMap((gpu, index): Splice[] => {
      const gpuSpan = spans[index];
      if (gpu === oldGpus[index] || gpuSpan === undefined) return [];
      return [setMember(json, gpuSpan, ["state", JSON.stringify(gpu.state)])];
    });
    splices.push(setMember(json, wholeOf(json), ["free_gpus", String(node.free_gpus)]));
    const text = spliced(json, splices);
    this.#texts.set(node, text);
    return text;
  }
}
