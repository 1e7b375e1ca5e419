// Runs inside the sealed realm, last: puts the scripts of this folder together. `scripts` maps their names
// to the functions that they evaluated to; all of them are of this realm.
(hostFunctions, scripts) => {
  const host = scripts.wrap(hostFunctions);
  const caps = { memory: 1024 * 1024 * 1024, files: 64 * 1024 * 1024 };
  scripts.globals(host);
  const readBuffer = scripts.shell(host);
  scripts["memory-cap"](caps);
  return scripts.bridge({
    host,
    caps,
    deadline: scripts.deadline(host),
    capFiles: scripts["file-cap"](caps),
    startPyodide: scripts.start(host),
    describe: scripts.describe(),
    heap: scripts.heap,
    freezeBuiltIns: scripts.freeze(),
    unxz: scripts.xz(new Uint8Array(readBuffer("/xz.wasm"))),
  });
};
