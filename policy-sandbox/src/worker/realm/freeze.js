// Runs inside the sealed realm: makes the built-in objects unchangeable once Pyodide has started, because
// Pyodide itself and the scripts of this folder run on them. Without it, a policy that reaches JavaScript
// could break the evaluations after its own.
() => {
  const { freeze, getOwnPropertyNames, getPrototypeOf, preventExtensions } = Object;
  // What Pyodide goes on writing to (`Error.stackTraceLimit`), and what its own objects give a property of
  // the same name, which a frozen prototype forbids (a file called "constructor").
  const WRITTEN = /^Object$|Error$/;

  const builtIns = getOwnPropertyNames(globalThis)
    .filter((name) => /^[A-Z]/.test(name) && !WRITTEN.test(name))
    .map((name) => globalThis[name]);
  const ofWebAssembly = getOwnPropertyNames(WebAssembly)
    .filter((name) => !WRITTEN.test(name))
    .map((name) => WebAssembly[name]);
  const unnamed = [
    [].values(),
    new Map().values(),
    new Set().values(),
    "".matchAll(/x/g),
    ""[Symbol.iterator](),
    (function* () {})(),
    (async function* () {})(),
    async () => undefined,
    new Uint8Array(),
  ].flatMap((sample) => {
    const prototype = getPrototypeOf(sample);
    return [prototype, getPrototypeOf(prototype)];
  });
  const shared = [...builtIns, ...ofWebAssembly, ...unnamed, getPrototypeOf(Uint8Array)].filter(
    (value) => typeof value === "object" || typeof value === "function",
  );

  return () => {
    for (const value of shared) {
      freeze(value);
      if (value.prototype !== undefined) freeze(value.prototype);
    }
    freeze(Object);
    preventExtensions(Object.prototype);
    preventExtensions(Error.prototype);
  };
};
