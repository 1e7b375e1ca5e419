import type { Part } from "@berth/service-kit";
import type { SimCluster } from "./sim-cluster.ts";

/**
 * The clusters of a fleet as parts of a program: started one after the other, so that a request to stop is
 * heard between them, and stopped all together, as one after the other would take too long.
 */
export function fleetParts(clusters: readonly SimCluster[]): Part[] {
  const begun: SimCluster[] = [];
  const stopAll = async () => {
    await Promise.all(begun.splice(0).map((cluster) => cluster.stop()));
  };
  const fleet: Part = { name: "fleet", start: async () => {}, stop: stopAll };
  const starts = clusters.map((cluster): Part => {
    const start = () => {
      begun.push(cluster);
      return cluster.start();
    };
    return { name: cluster.name, start, stop: async () => {} };
  });
  return [fleet, ...starts];
}
