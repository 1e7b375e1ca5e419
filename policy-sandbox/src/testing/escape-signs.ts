/** What only the host has: its program, its users, its environment. */
export const HOST_VALUES = new RegExp(
  [
    "uid=",
    "root:x",
    process.version.replaceAll(".", "\\."),
    "node_modules",
    "\\[object process\\]",
  ].join("|"),
);

/** The refusal to make code of text. */
export const NO_CODEGEN = /EvalError: Code generation from strings disallowed/;

/** The refusal of a function of the realm. */
export const JS_DENIED = /not available in the policy sandbox/;
