export { destroyPageOf, replaceText } from "./damage.ts";
export { startDelayProxy } from "./delay-proxy.ts";
export { documentStoreContract, type StoreHarness } from "./document-store-contract.ts";
export {
  type CutDirection,
  type HalfOpenProxy,
  startHalfOpenProxy,
  type TestCleanup,
} from "./half-open-proxy.ts";
export { scrapeFaults } from "./scrape-faults.ts";
