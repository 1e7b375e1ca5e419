// Runs inside the sealed realm: caps the interpreter's heap. `caps.memory` (bytes) may change between
// evaluations; a policy meets the cap as a MemoryError.
(caps) => {
  const WASM_PAGE = 65_536;
  const { apply } = Reflect;
  const Failure = RangeError;
  const number = Number;
  const { prototype } = WebAssembly.Memory;
  const { grow } = prototype;
  const value = function capped(pages) {
    if (!(this.buffer.byteLength + number(pages) * WASM_PAGE <= caps.memory)) {
      throw new Failure("memory limit");
    }
    return apply(grow, this, [pages]);
  };
  Object.defineProperty(prototype, "grow", { value, writable: false, configurable: false });
};
