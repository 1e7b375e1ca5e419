// Runs inside the sealed realm: decompresses .xz with the WebAssembly part of the package xz-decompress
// (xz-embedded), because Pyodide 0.29.5 has no lzma module. The driver follows the package's own XzContext:
// its context is a struct of 32-bit words.
(wasm) => {
  const OK = 0;
  const STREAM_END = 1;
  // xz_ret of xz-embedded's xz.h, from 2 on.
  const FAILURES = [
    "uses an unknown integrity check",
    "needs too much memory",
    "needs too much memory",
    "is not xz data",
    // Most of all --check=sha256, which this build tells no better.
    "uses an option that is not supported: repack it with xz --check=crc64",
    "is corrupt",
    "ends too early",
  ];
  const WORD = { size: 0, inStart: 1, inPosition: 2, inEnd: 3, outStart: 4, outPosition: 5 };

  const open = () => {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), {});
    const at = exports.create_context();
    const words = () => new Uint32Array(exports.memory.buffer, at, 6);
    const bytes = (start, length) => new Uint8Array(exports.memory.buffer, start, length);
    return { exports, at, words, bytes };
  };

  const feed = (context, data, fed) => {
    const words = context.words();
    if (words[WORD.inPosition] !== words[WORD.inEnd]) return fed;
    const part = data.subarray(fed, Math.min(fed + words[WORD.size], data.byteLength));
    context.bytes(words[WORD.inStart], part.byteLength).set(part);
    context.exports.supply_input(context.at, part.byteLength);
    return fed + part.byteLength;
  };

  const step = (context) => {
    const result = context.exports.get_next_output(context.at);
    if (result !== OK && result !== STREAM_END) {
      throw new Error(FAILURES[result - 2] ?? "cannot be read");
    }
    const words = context.words();
    const chunk = context.bytes(words[WORD.outStart], words[WORD.outPosition]).slice();
    words[WORD.outPosition] = 0;
    return { chunk, finished: result === STREAM_END };
  };

  // Stops as soon as `limit` bytes have come out: the caller asks for one more than it accepts.
  return (data, limit) => {
    const context = open();
    const plain = new Uint8Array(limit);
    let total = 0;
    let fed = 0;
    for (let idle = false; ; ) {
      const before = fed;
      fed = feed(context, data, fed);
      const { chunk, finished } = step(context);
      const kept = chunk.subarray(0, limit - total);
      plain.set(kept, total);
      total += kept.byteLength;
      if (finished || total === limit) return plain.slice(0, total);
      const stuck = fed === before && chunk.byteLength === 0;
      if (stuck && idle) throw new Error("ends too early");
      idle = stuck;
    }
  };
};
