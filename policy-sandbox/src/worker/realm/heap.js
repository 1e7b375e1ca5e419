// Runs inside the sealed realm: tells how much of the interpreter's heap is in use.
(interpreter) => {
  // struct mallinfo of 32-bit dlmalloc: ten words, the eighth is what is allocated.
  const MALLINFO = { bytes: 40, used: 7 };

  const size = () => interpreter.pyodide._module.HEAPU8.byteLength;

  // The heap never shrinks, so its size only tells what it never was.
  const usesMoreThan = (bytes) => {
    if (size() <= bytes) return false;
    const { _module: wasm } = interpreter.pyodide;
    const stack = wasm.stackSave();
    const info = wasm.stackAlloc(MALLINFO.bytes);
    wasm._mallinfo(info);
    const used = wasm.HEAPU32[info / 4 + MALLINFO.used];
    wasm.stackRestore(stack);
    return used > bytes;
  };
  return { size, usesMoreThan };
};
