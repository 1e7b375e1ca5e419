import { fileURLToPath } from "node:url";

/**
 * Path of an executable that behaves as nvidia-smi does, for the setting BERTH_NVIDIA_SMI. What it
 * plays is set by the environment variables that its first lines list (FAKE_SMI_PROFILE and others).
 */
export const FAKE_NVIDIA_SMI_PATH: string = fileURLToPath(
  new URL("./fake-nvidia-smi.js", import.meta.url),
);
