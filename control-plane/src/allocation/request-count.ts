import { isJsonObject } from "@berth/service-kit";

/**
 * Number of placements that inputs ask for, when they hold a list of `requests`. Inputs that are a list themselves are the
 * policy's own, as with existing clients: what they mean is not known here.
 */
export function requestCount(inputs: unknown): number | undefined {
  const requests = isJsonObject(inputs) ? inputs.requests : undefined;
  return Array.isArray(requests) ? requests.length : undefined;
}
