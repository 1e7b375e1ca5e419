export { documentStoreContract, type StoreHarness } from "./document-store-contract.ts";
