import { type BlockEntry, gpusOfAllocator } from "./block-entry.ts";

/** What one instance of a block needs of a node. */
export interface RequestedResources {
  /** Devices. */
  readonly gpus: number;
  /** Memory of each device; undefined = whole devices. */
  readonly gpuMemoryMiB: number | undefined;
  /** 1,000 = one logical core. */
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
}

/** What an instance of a block runs. */
export interface RequestedProgram {
  /** Container image; undefined when the component names none. */
  readonly image: string | undefined;
  /** Program and arguments; undefined when the component names none. */
  readonly command: readonly string[] | undefined;
  readonly env: Readonly<Record<string, string>>;
}

/** A policy of a block, as it names it. */
export interface RequestedPolicy {
  readonly policyRuleUri: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
}

/**
 * What an instance needs, as the entry (with plain numbers) says in `resources`. GPUs that are not named there are
 * those that it says to its allocator's policy ({@link gpusOfAllocator}); everything else is 0.
 */
export function requestedResources(entry: BlockEntry): RequestedResources {
  const { resources = {} } = entry;
  return {
    gpus: resources.gpus ?? gpusOfAllocator(entry) ?? 0,
    gpuMemoryMiB: resources.gpuMemoryMiB,
    cpuMillis: resources.cpuMillis ?? 0,
    memoryMiB: resources.memoryMiB ?? 0,
    storageMiB: resources.storageMiB ?? 0,
  };
}

/** What an instance runs, as the entry's component says; an empty image or command is none. */
export function requestedProgram(entry: BlockEntry): RequestedProgram {
  const { containerImage, command = [], env = {} } = entry.component?.containerRegistryInfo ?? {};
  return {
    image: containerImage === "" ? undefined : containerImage,
    command: command.length === 0 ? undefined : command,
    env,
  };
}

/**
 * Whether somebody else's software runs in the block: its policy is asked to `third_party_allocate` instead of to allocate. The
 * existing deployment writes "third_party", its documents "third-party".
 */
export function isThirdParty(entry: BlockEntry): boolean {
  const { componentMode } = entry.component?.containerRegistryInfo ?? {};
  return componentMode === "third_party" || componentMode === "third-party";
}

/** Whether a block names an init container: `image`, or `containerImage` as the seed writes it. */
export function hasInitContainer(entry: BlockEntry): boolean {
  const { initContainer = {} } = entry.component?.containerRegistryInfo ?? {};
  const { image, containerImage = image } = initContainer as Record<string, unknown>;
  return typeof containerImage === "string" && containerImage !== "";
}

/** A policy of a block by its name ("resourceAllocator"); undefined when it has none, or an empty URI. */
export function requestedPolicy(entry: BlockEntry, name: string): RequestedPolicy | undefined {
  const { policies = {} } = entry;
  const found = Object.hasOwn(policies, name) ? policies[name] : undefined;
  const {
    policyRuleURI = "",
    parameters = {},
    settings = {},
  } = typeof found === "string" ? { policyRuleURI: found } : (found ?? {});
  return policyRuleURI === "" ? undefined : { policyRuleUri: policyRuleURI, parameters, settings };
}
