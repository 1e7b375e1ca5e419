import { itemsOf, memberOf, wholeOf } from "@berth/service-kit";

/** Number of placements that inputs ask for, when they are a list of requests or hold one as `requests`. */
export function requestCount(inputsJson: string): number | undefined {
  const inputs = wholeOf(inputsJson);
  const requests =
    inputsJson[inputs.start] === "{" ? memberOf(inputsJson, inputs, "requests") : inputs;
  if (requests === undefined || inputsJson[requests.start] !== "[") return undefined;
  return itemsOf(inputsJson, requests).length;
}
