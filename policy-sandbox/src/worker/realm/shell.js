// Runs inside the sealed realm: the functions by which Pyodide recognises a "shell" (d8) and reads its own
// files. `host` is what wrap.js returned; it stops serving files once Pyodide has started. The value of this
// script's function is the file reader.
(host) => {
  const Bytes = Uint8Array;
  const Failure = Error;
  const text = String;
  const { min } = Math;
  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  const readBuffer = (path) => {
    const name = text(path);
    const target = new Bytes(host.assetSize(name));
    host.assetFill(name, target);
    return target.buffer;
  };

  const base64 = (bytes) => {
    let encoded = "";
    for (let at = 0; at < bytes.length; at += 3) {
      const left = min(3, bytes.length - at);
      const word = (bytes[at] << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
      encoded += ALPHABET[word >> 18] + ALPHABET[(word >> 12) & 63];
      encoded += left > 1 ? ALPHABET[(word >> 6) & 63] : "=";
      encoded += left > 2 ? ALPHABET[word & 63] : "=";
    }
    return encoded;
  };

  // Pyodide's shell flavour draws its randomness from `head -c<n> /dev/urandom | base64`: that one command.
  const system = (_command, args) => {
    const count = Number.parseInt(text(args[1]).slice(7), 10);
    if (!(count >= 0 && count <= 65_536)) throw new Failure("not available in the policy sandbox");
    const bytes = new Bytes(count);
    host.random(bytes);
    return base64(bytes);
  };

  const quiet = () => undefined;
  const globals = {
    console: { log: quiet, warn: quiet, error: quiet },
    print: quiet,
    printErr: quiet,
    quit: () => {
      throw new Failure("quit");
    },
    readbuffer: readBuffer,
    read: (path) => new Bytes(readBuffer(path)),
    load: async (path) => host.runScript(text(path)),
    os: { system },
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
  return readBuffer;
};
