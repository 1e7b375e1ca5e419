// Runs inside the sealed realm: the globals that Pyodide expects of every JavaScript engine and that a bare
// realm does not have. `host` is what wrap.js returned.
(host) => {
  // Taken before any policy runs: a policy can replace the globals, not these.
  const Bytes = Uint8Array;
  const Buffered = ArrayBuffer;
  const text = String;

  const bytesOf = (view) =>
    view instanceof Buffered
      ? new Bytes(view)
      : new Bytes(view.buffer, view.byteOffset, view.byteLength);

  const globals = {
    self: globalThis,
    TextDecoder: class TextDecoder {
      #label;
      constructor(label) {
        this.#label = text(label ?? "utf-8");
      }
      decode(view) {
        return view === undefined ? "" : host.decode(bytesOf(view), this.#label);
      }
    },
    TextEncoder: class TextEncoder {
      encode(value) {
        const source = text(value);
        const target = new Bytes(source.length * 3);
        return target.slice(0, host.encode(source, target));
      }
      encodeInto(value, target) {
        const source = text(value);
        return { read: source.length, written: host.encode(source, bytesOf(target)) };
      }
    },
    performance: { now: host.now },
    crypto: {
      getRandomValues(view) {
        host.random(bytesOf(view));
        return view;
      },
    },
    // No timer ever fires: nothing runs in here but the evaluation.
    setTimeout: () => 0,
    setInterval: () => 0,
    clearTimeout: () => undefined,
    clearInterval: () => undefined,
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
};
