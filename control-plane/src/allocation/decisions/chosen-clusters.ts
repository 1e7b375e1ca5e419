/** The clusters that a placement or a list of them names, in its order; undefined where none is named. */
export function chosenClusters(data: unknown): readonly unknown[] {
  return [data].flat().map((item) => {
    return typeof item === "object" && item !== null && "cluster_id" in item
      ? item.cluster_id
      : undefined;
  });
}
