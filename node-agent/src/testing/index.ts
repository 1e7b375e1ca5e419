export { FAKE_NVIDIA_SMI_PATH } from "./fake-nvidia-smi-path.ts";
export {
  type NodeServer,
  type NodeServerOptions,
  startNodeServer,
} from "./node-server.ts";
export {
  loadSmiFixture,
  SMI_FIXTURES,
  type SmiFixture,
  type SmiFixtureName,
} from "./smi-fixture.ts";
