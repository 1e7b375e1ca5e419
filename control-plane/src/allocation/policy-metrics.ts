import type { ClusterView } from "../fleet/cluster-view.ts";
import { MetricsDocument } from "../metrics/global-metrics-document.ts";

/** What was made of views that are still there. */
const documents = new WeakMap<ClusterView, MetricsDocument>();

/**
 * The metrics of a cluster as policies and their filters look for them: the document of `GET /cluster/<id>` but for
 * its age, which would not hold as long as the view does. Null where no agent has reported any, as policies know it.
 */
export function policyMetrics(view: ClusterView): MetricsDocument | null {
  if (view.metrics === null) return null;
  const known = documents.get(view);
  if (known !== undefined) return known;
  const document = new MetricsDocument(view);
  documents.set(view, document);
  return document;
}
