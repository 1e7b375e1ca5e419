// Runs inside the sealed realm, first: wraps every function of the host, so that what Python reaches is of
// this realm. Only primitives and typed arrays made here cross; the host's errors never do.
(host) => {
  const Failure = Error;
  const wrapped = Object.create(null);
  const wrap =
    (callee) =>
    (...args) => {
      let result;
      let failed = false;
      try {
        result = callee(...args);
      } catch {
        failed = true; // the host's error object must not be seen in here
      }
      if (failed) throw new Failure("not available in the policy sandbox");
      return result;
    };
  for (const name of Object.keys(host)) wrapped[name] = wrap(host[name]);

  // A stack-trace hook would be handed call sites of whoever formats the stack: never allow one.
  Object.defineProperty(Failure, "prepareStackTrace", { value: undefined });
  Object.defineProperty(globalThis, "Error", {
    value: Failure,
    writable: false,
    configurable: false,
  });
  return Object.freeze(wrapped);
};
