const HEAD = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.parameters = parameters
`;

/** Looks at every GPU of every candidate; the node with the most free ones wins. */
export const SCAN_EVERY_GPU = `${HEAD}
    def eval(self, parameters, input_data, context):
        wanted = input_data["inputs"].get("gpus", 1)
        best = None
        for cluster_id, entry in input_data["cluster_data"].items():
            document = entry["data"]
            if document["status"] != "live":
                continue
            for node in document["nodes"]["nodeData"]:
                free = []
                for gpu in node["gpus"]["gpus"]:
                    if gpu["state"] == "free" and gpu["memory"] >= 40000:
                        free.append(gpu["id"])
                if len(free) >= wanted and (best is None or len(free) > len(best[2])):
                    best = (cluster_id, node["id"], free)
        if best is None:
            return {"cluster_id": None, "reasons": ["no node has enough free GPUs"]}
        return {"cluster_id": best[0], "node_id": best[1], "gpus": best[2][:wanted]}
`;

/** Looks at the cluster that the inputs name and at no other. */
export const ONE_CLUSTER = `${HEAD}
    def eval(self, parameters, input_data, context):
        cluster_id = input_data["inputs"]["cluster"]
        nodes = input_data["cluster_data"][cluster_id]["data"]["nodes"]["nodeData"]
        best = max(nodes, key=lambda node: node["free_gpus"])
        return {"cluster_id": cluster_id, "node_id": best["id"]}
`;

/** Sleeps for as long as its inputs say; needs no cluster. */
export const SLEEPER = `import time
${HEAD}
    def eval(self, parameters, input_data, context):
        time.sleep(input_data["inputs"]["seconds"])
        return {"cluster_id": None, "reasons": ["slept"]}
`;

/** Burns CPU for as long as its inputs say; needs no cluster. */
export const BURNER = `import time
${HEAD}
    def eval(self, parameters, input_data, context):
        end = time.monotonic() + input_data["inputs"]["seconds"]
        rounds = 0
        while time.monotonic() < end:
            rounds += 1
        return {"cluster_id": None, "reasons": ["burnt"]}
`;

/** Answers at once; needs no cluster. */
export const NOTHING = `${HEAD}
    def eval(self, parameters, input_data, context):
        return {"cluster_id": None, "reasons": ["nothing"]}
`;
