import type { PolicyCode } from "../policy.ts";

/** What a policy runs with where its caller says nothing else: JSON objects, with numbers as they were published. */
export interface PolicyDefaults {
  readonly settingsJson: string;
  readonly parametersJson: string;
}

/** A policy with everything that running it takes. */
export interface RunnablePolicy extends PolicyDefaults {
  /** "name:version-release_tag". */
  readonly uri: string;
  readonly name: string;
  readonly code: PolicyCode;
  /** False once this version was removed, also when another one has taken its URI since. */
  readonly isPublished: () => boolean;
}
