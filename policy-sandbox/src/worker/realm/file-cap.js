// Runs inside the sealed realm: caps the in-memory file system, which lives outside the interpreter's heap.
// `caps.files` (bytes) may change between evaluations; a policy meets the cap as an OSError. The value of
// this script's function takes emscripten's FS.
(caps) => {
  const ENOSPC = 51; // emscripten's number
  const { apply } = Reflect;
  const { max, floor } = Math;

  const sizeOf = (node) => node.contents?.byteLength ?? 0;

  // What is really allocated for every file that the tree or an open stream still holds.
  const usedBytes = (FS) => {
    const seen = new Set();
    const waiting = [
      FS.root,
      ...FS.streams.filter((stream) => stream).map((stream) => stream.node),
    ];
    let used = 0;
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      if (FS.isFile(node.mode)) used += sizeOf(node);
      else if (FS.isDir(node.mode) && node.contents) waiting.push(...Object.values(node.contents));
    }
    return used;
  };

  // Counts as it goes and looks again at everything only when the cap seems reached.
  const meterOf = (FS) => {
    const own = usedBytes(FS); // the standard library's archive
    let used = own;
    const ensureRoom = (node, size) => {
      const extra = size - sizeOf(node);
      if (extra <= 0 || used - own + extra <= caps.files) return;
      used = usedBytes(FS);
      if (used - own + extra > caps.files) throw new FS.ErrnoError(ENOSPC);
    };
    const counted = (node, action) => {
      const before = sizeOf(node);
      const result = action();
      used += sizeOf(node) - before;
      return result;
    };
    return { ensureRoom, counted };
  };

  return (FS) => {
    const { MEMFS } = FS.filesystems;
    const { expandFileStorage, resizeFileStorage, ops_table: ops } = MEMFS;
    const { write } = ops.file.stream;
    const { ensureRoom, counted } = meterOf(FS);
    MEMFS.expandFileStorage = (node, size) => {
      const have = sizeOf(node);
      if (have >= size) return;
      // Emscripten over-allocates by this rule, and that is what counts.
      ensureRoom(node, max(size, floor(have * (have < 1_048_576 ? 2 : 1.125)), 256));
      apply(expandFileStorage, MEMFS, [node, size]);
    };
    MEMFS.resizeFileStorage = (node, size) => {
      ensureRoom(node, size);
      counted(node, () => apply(resizeFileStorage, MEMFS, [node, size]));
    };
    ops.file.stream.write = (...args) => {
      const [stream, , , length, position] = args;
      ensureRoom(stream.node, position + length);
      return counted(stream.node, () => apply(write, MEMFS.stream_ops, args));
    };
  };
};
