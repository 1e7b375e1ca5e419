import { expect, it } from "vitest";
import { MAX_PLACES, placesFields, type ReplicaPlace } from "./replica-place.ts";

const place = (id: number, nodeId = "n"): ReplicaPlace => ({
  ...{ id: String(id), clusterId: "c", nodeId, gpus: ["0"], placedAt: "" },
  leaseId: `c:${id}`,
});

it("tells places, and those that go, by what others know them by", () => {
  const { leaseId: _taken, ...lost } = place(1);
  expect(placesFields([place(0), lost], [place(2)])).toEqual({
    places: [
      { cluster_id: "c", node_id: "n", gpus: ["0"], lease_id: "c:0" },
      { cluster_id: "c", node_id: "n", gpus: ["0"] },
    ],
    removed_places: [{ cluster_id: "c", node_id: "n", gpus: ["0"], lease_id: "c:2" }],
  });
  expect(placesFields([], [])).toEqual({ places: [] });
});

it("tells the newest of places that the bus would not take", () => {
  const many = Array.from({ length: MAX_PLACES }, (_, id) => place(id, "ü".repeat(200)));
  const fields = placesFields(many, many);
  expect(Buffer.byteLength(JSON.stringify(fields))).toBeLessThan(400 * 1024);
  const { places, places_left_out: missing } = JSON.parse(JSON.stringify(fields));
  expect(places.length + missing).toBe(MAX_PLACES);
  expect(places.at(-1)).toMatchObject({ lease_id: `c:${MAX_PLACES - 1}` });
  expect(places[0]).toMatchObject({ lease_id: `c:${missing}` });
});
