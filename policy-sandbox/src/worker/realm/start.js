// Runs inside the sealed realm: starts Pyodide, from the host's memory image when there is one.
(host) => {
  const Bytes = Uint8Array;
  return async (makeSnapshot, lockFile) => {
    const options = {
      indexURL: "/",
      packageBaseUrl: "/",
      env: { HOME: "/home/pyodide", PYTHONHASHSEED: "0" },
      jsglobals: globalThis,
      lockFileContents: JSON.parse(lockFile),
      stdin: () => null,
      stdout: () => undefined,
      stderr: () => undefined,
    };
    const size = host.snapshotSize();
    if (size > 0) {
      options._loadSnapshot = new Bytes(size);
      host.snapshotFill(options._loadSnapshot);
    }
    if (makeSnapshot) options._makeSnapshot = true;
    const pyodide = await globalThis.loadPyodide(options);
    // Both hold the image, which is not needed any more.
    options._loadSnapshot = undefined;
    pyodide._api.config._loadSnapshot = undefined;
    return pyodide;
  };
};
