// Runs inside the sealed realm: starts Pyodide and carries evaluations in and out. `parts` holds what the
// other scripts of this folder returned. Everything that goes back to the host is a primitive or a function
// of this realm that returns primitives.
(parts) => {
  const { host, deadline, caps, capFiles, startPyodide, freezeBuiltIns, unxz, describe } = parts;
  const Bytes = Uint8Array;
  const text = String;
  const number = Number;
  const interpreter = { pyodide: null, dispatch: null };
  const heap = parts.heap(interpreter);

  const start = async (makeSnapshot, lockFile) => {
    interpreter.pyodide = await startPyodide(makeSnapshot, lockFile);
  };

  const connect = (source) => {
    const { pyodide } = interpreter;
    capFiles(pyodide.FS);
    const entry = pyodide.runPython(source);
    interpreter.dispatch = entry(
      (request) => host.callHost(text(request)),
      (lengthMs) => deadline.pause(number(lengthMs)),
      (data, limit) => unxz(data, number(limit)),
      (bytes) => heap.usesMoreThan(number(bytes)),
    );
    pyodide.setInterruptBuffer(deadline.interrupts);
    freezeBuiltIns();
  };

  const sections = () => {
    const filled = [];
    for (let index = 0; index < host.sectionCount(); index += 1) {
      const bytes = new Bytes(host.sectionSize(index));
      host.sectionFill(index, bytes);
      filled.push(bytes);
    }
    return filled;
  };

  // One evaluation: "ok" + the runner's reply, or "trap" + why the interpreter is beyond use.
  const run = (header, wallMs, cpuMs, graceMs) => {
    let reply;
    try {
      deadline.arm(wallMs, cpuMs, graceMs);
      reply = `ok${text(interpreter.dispatch(header, ...sections()))}`;
    } catch (error) {
      reply = `trap${describe(error)}`;
    }
    deadline.disarm();
    return reply;
  };

  const setCaps = (memoryBytes, fileBytes) => {
    caps.memory = memoryBytes;
    caps.files = fileBytes;
  };
  return {
    start,
    connect,
    run,
    setCaps,
    runPython: (source) => void interpreter.pyodide.runPython(source),
    fired: deadline.fired,
    snapshot: () => host.snapshotEmit(interpreter.pyodide.makeMemorySnapshot()),
    heapBytes: heap.size,
  };
};
