"""Least loaded: of all healthy nodes with enough free GPUs, the one with the most room left.

Inputs:      {"gpus": 1, "gpu_memory_mb": 40000, "gpu_model": "H100"}   (all optional)
Parameters:  {"weights": {"gpu": 1.0, "cpu": 1.0, "memory": 1.0}}
Result:      {"cluster_id": "local", "node_id": "node-1", "gpus": ["0"]}
             {"cluster_id": None, "reasons": ["local/node-1: 0 of 1 GPUs fit"]} when nothing fits
"""

DEFAULT_WEIGHTS = {"gpu": 1.0, "cpu": 1.0, "memory": 1.0}


class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.rule_id = rule_id
        self.settings = settings
        self.parameters = parameters

    def eval(self, parameters, input_data, context):
        wanted = read_inputs(input_data.get("inputs") or {})
        weights = {**DEFAULT_WEIGHTS, **(parameters.get("weights") or {})}

        candidates, reasons = [], []
        for cluster_id, cluster in sorted(input_data["cluster_data"].items()):
            found, why_not = look_at_cluster(cluster_id, cluster, wanted, weights)
            candidates += found
            reasons += why_not

        if not candidates:
            return {"cluster_id": None, "reasons": reasons or ["there is no cluster to choose from"]}
        # Equal loads: the smaller cluster id, then node id, so that the answer is always the same.
        load, cluster_id, node_id, gpus = min(candidates)
        return {"cluster_id": cluster_id, "node_id": node_id, "gpus": gpus}


def read_inputs(inputs):
    gpus = inputs.get("gpus") or 0
    if isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 0:
        raise ValueError(f"inputs.gpus: expected a whole number from 0, got {gpus!r}")
    memory = inputs.get("gpu_memory_mb") or 0
    if isinstance(memory, bool) or not isinstance(memory, (int, float)) or memory < 0:
        raise ValueError(f"inputs.gpu_memory_mb: expected a number from 0, got {memory!r}")
    model = inputs.get("gpu_model") or ""
    if not isinstance(model, str):
        raise ValueError(f"inputs.gpu_model: expected text, got {model!r}")
    return {"gpus": gpus, "gpu_memory_mb": memory, "gpu_model": model.lower()}


def look_at_cluster(cluster_id, cluster, wanted, weights):
    """Gives ([(load, cluster id, node id, GPU ids)], [why a node does not fit])."""
    document = cluster["data"]
    if document.get("status") != "live":
        return [], [f"{cluster_id}: the cluster is {document.get('status')}"]

    entries = {entry["id"]: entry for entry in document["nodes"]["nodeData"]}
    nodes = (cluster.get("cluster_metrics") or {}).get("nodes") or []
    candidates, reasons = [], []
    for node in sorted(nodes, key=lambda node: node["id"]):
        name = f"{cluster_id}/{node['id']}"
        entry = entries.get(node["id"])
        if entry is None or node["status"] != "healthy":
            reasons.append(f"{name}: the node is not healthy")
            continue
        gpus = fitting_gpus(node, entry, wanted)
        if len(gpus) < wanted["gpus"]:
            reasons.append(f"{name}: {len(gpus)} of {wanted['gpus']} GPUs fit")
            continue
        chosen = [gpu["id"] for gpu in gpus[: wanted["gpus"]]]
        candidates.append((load_of(node, entry, weights), cluster_id, node["id"], chosen))

    if not nodes:
        reasons.append(f"{cluster_id}: no node has reported yet")
    return candidates, reasons


def fitting_gpus(node, entry, wanted):
    """Free GPUs that match the request, the ones with the most free memory first."""
    described = {gpu["id"]: gpu for gpu in entry["gpus"]["gpus"]}
    fitting = []
    for gpu in node["gpus"]:
        description = described.get(gpu["id"])
        if description is None or gpu["state"] != "free":
            continue
        # Without a sample the memory counts as free: nothing is placed there by Berth.
        free = gpu.get("freeMem", description["memory"])
        if free < wanted["gpu_memory_mb"]:
            continue
        if wanted["gpu_model"] not in description["modelName"].lower():
            continue
        fitting.append((-free, int(gpu["id"]), gpu))
    return [gpu for _, _, gpu in sorted(fitting, key=lambda item: item[:2])]


def load_of(node, entry, weights):
    """Weighted sum of the shares in use. What a node does not report counts as idle."""
    gpus = entry["gpus"]["count"]
    cores = entry["vcpus"]["count"]
    memory = entry["memory"]
    shares = {
        "gpu": 1 - node["free_gpus"] / gpus if gpus else 0,
        "cpu": node["vcpu"].get("load1m", 0) / cores if cores else 0,
        "memory": 1 - node["memory"].get("freeMem", memory) / memory if memory else 0,
    }
    return sum(weights[name] * share for name, share in shares.items())
