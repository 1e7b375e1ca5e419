import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import vm from "node:vm";

/** What the sealed interpreter needs of the process around it. */
export interface RealmHost {
  /** Answers one host call of the policy: JSON text to JSON text. Blocks. */
  readonly callHost: (text: string) => string;
  /** Ends the process: the policy ignored the interrupt. Must not return. */
  readonly leave: (limit: string) => void;
}

/** Where the interpreter comes from. */
export interface RealmSource {
  /** Folder of the pyodide package, with a trailing slash. */
  readonly pyodideDir: string;
  /** The script of the package xz-decompress, which carries the decoder's WebAssembly. */
  readonly xzScript: string;
  /** A memory image made by `snapshot()` of the same sources; null starts from scratch (about 4 s). */
  readonly snapshot: Uint8Array | null;
  /** V8's code cache for pyodide.asm.js; null or a rejected one only costs time. */
  readonly codeCache: Uint8Array | null;
}

/** The sealed interpreter, as the worker's main loop sees it: primitives in, primitives out. */
export interface Realm {
  runPython(source: string): void;
  /** Seals the interpreter; `source` evaluates to the Python function that builds the dispatcher. */
  connect(source: string): void;
  setCaps(memoryBytes: number, fileBytes: number): void;
  /** Runs the dispatcher on a header and binary sections: "ok" + reply or "trap" + message. */
  run(request: RealmRequest): string;
  /** Which deadline interrupted the last run: "wall", "cpu" or "". */
  fired(): string;
  heapBytes(): number;
  /** The memory image; only of a realm started with `makeSnapshot`. */
  snapshot(): Uint8Array;
  codeCache(): Uint8Array;
}

/** One run of the dispatcher. */
export interface RealmRequest {
  readonly header: string;
  readonly sections: readonly Uint8Array[];
  readonly wallMs: number;
  readonly cpuMs: number;
  /** What the policy gets to unwind after the interrupt. */
  readonly graceMs: number;
}

interface Bridge {
  start(makeSnapshot: boolean, lockFile: string): Promise<void>;
  runPython(source: string): void;
  connect(source: string): void;
  setCaps(memoryBytes: number, fileBytes: number): void;
  run(header: string, wallMs: number, cpuMs: number, graceMs: number): unknown;
  fired(): unknown;
  heapBytes(): unknown;
  snapshot(): void;
}

// Pyodide 0.29.5's own lock file, without the packages: nothing can be installed.
const LOCK_FILE = JSON.stringify({
  info: {
    abi_version: "2025_0",
    arch: "wasm32",
    platform: "emscripten_4_0_9",
    python: "3.13.2",
    version: "0.29.5",
  },
  packages: {},
});

const REALM_SCRIPTS = [
  "wrap",
  "globals",
  "shell",
  "deadline",
  "memory-cap",
  "file-cap",
  "start",
  "xz",
  "describe",
  "heap",
  "freeze",
  "bridge",
] as const;

// Taken from this realm before any policy runs: the methods of an array of the other realm are hostile.
const setBytes = Uint8Array.prototype.set;
const sliceBytes = Uint8Array.prototype.slice;

function copyInto(target: unknown, bytes: Uint8Array): void {
  Reflect.apply(setBytes, target, [bytes]);
}

/** Starts Pyodide in a realm of its own that holds nothing of this one. */
export async function openRealm(
  source: RealmSource,
  host: RealmHost,
  makeSnapshot: boolean,
): Promise<Realm> {
  const context = vm.createContext(vm.constants.DONT_CONTEXTIFY, {
    name: "policy",
    codeGeneration: { strings: false, wasm: true },
  });
  const assets = new Assets(source);
  const asmScript = assets.asmScript(source.codeCache);
  const state = new RealmState(source.snapshot);
  const hostFunctions = {
    ...state.functions(),
    ...assets.functions(() => void asmScript.runInContext(context)),
    callHost: (text: unknown) => (typeof text === "string" ? host.callHost(text) : ""),
    leave: (limit: unknown) => host.leave(limit === "cpu" ? "cpu" : "wall"),
  };
  const load = (name: string): unknown => realmScript(name).runInContext(context);
  const bridge = assemble(load)(hostFunctions);
  assets.script("pyodide.js").runInContext(context);
  await bridge.start(makeSnapshot, LOCK_FILE);
  assets.close();
  return realmOf({ bridge, state, asmScript });
}

/** Evaluates the realm's own scripts; every value in here is a function of the other realm. */
function assemble(load: (name: string) => unknown): (hostFunctions: object) => Bridge {
  const script = load("assemble") as (hostFunctions: object, scripts: object) => Bridge;
  const scripts = Object.fromEntries(REALM_SCRIPTS.map((name) => [name, load(name)]));
  return (hostFunctions) => script(hostFunctions, scripts);
}

function realmScript(name: string): vm.Script {
  const text = readFileSync(new URL(`realm/${name}.js`, import.meta.url), "utf8");
  return new vm.Script(`"use strict";${text}`, { filename: `berth/${name}.js` });
}

function realmOf(parts: { bridge: Bridge; state: RealmState; asmScript: vm.Script }): Realm {
  const { bridge, state, asmScript } = parts;
  return {
    runPython: (text) => bridge.runPython(text),
    connect: (text) => bridge.connect(text),
    setCaps: (memoryBytes, fileBytes) => bridge.setCaps(memoryBytes, fileBytes),
    run: (request) => {
      state.sections = request.sections;
      const reply = bridge.run(request.header, request.wallMs, request.cpuMs, request.graceMs);
      state.sections = [];
      return typeof reply === "string" ? reply : "trapthe interpreter returned no text";
    },
    fired: () => {
      const limit = bridge.fired();
      return limit === "wall" || limit === "cpu" ? limit : "";
    },
    heapBytes: () => {
      const bytes = bridge.heapBytes();
      return typeof bytes === "number" ? bytes : 0;
    },
    snapshot: () => {
      bridge.snapshot();
      return state.image ?? new Uint8Array();
    },
    codeCache: () => asmScript.createCachedData(),
  };
}

/** The host functions that carry bytes and clocks. */
class RealmState {
  sections: readonly Uint8Array[] = [];
  image: Uint8Array | null = null;
  #snapshot: Uint8Array | null;
  readonly #decoders = new Map<string, TextDecoder>();
  readonly #encoder = new TextEncoder();
  readonly #napCell = new Int32Array(new SharedArrayBuffer(4));

  constructor(snapshot: Uint8Array | null) {
    this.#snapshot = snapshot;
  }

  functions() {
    return {
      now: () => performance.now(),
      threadCpuMs: () => {
        const usage = process.threadCpuUsage();
        return (usage.user + usage.system) / 1_000;
      },
      random: (target: Uint8Array) => {
        // Filled here and copied: node's own function would read properties of the foreign array.
        const bytes = new Uint8Array(Math.min(Number(target.byteLength), 65_536));
        copyInto(target, randomFillSync(bytes));
      },
      decode: (bytes: Uint8Array, label: unknown) => this.#decoder(String(label)).decode(bytes),
      encode: (text: unknown, target: Uint8Array) =>
        this.#encoder.encodeInto(String(text), target).written,
      nap: (lengthMs: unknown) =>
        void Atomics.wait(this.#napCell, 0, 0, Math.max(0, Math.min(Number(lengthMs), 1_000))),
      sectionCount: () => this.sections.length,
      sectionSize: (index: unknown) => this.#section(index).byteLength,
      sectionFill: (index: unknown, target: unknown) => copyInto(target, this.#section(index)),
      snapshotSize: () => this.#snapshot?.byteLength ?? 0,
      snapshotFill: (target: unknown) => {
        copyInto(target, this.#snapshot ?? new Uint8Array());
        this.#snapshot = null;
      },
      snapshotEmit: (image: unknown) => {
        this.image = Reflect.apply(sliceBytes, image, []) as Uint8Array;
      },
    };
  }

  #section(index: unknown): Uint8Array {
    const section = this.sections[Number(index)];
    if (section === undefined) throw new RangeError("no such section");
    return section;
  }

  #decoder(label: string): TextDecoder {
    const known = this.#decoders.get(label);
    if (known !== undefined) return known;
    if (this.#decoders.size >= 16) throw new RangeError("too many encodings");
    const decoder = new TextDecoder(label);
    this.#decoders.set(label, decoder);
    return decoder;
  }
}

/** The files of the pyodide package, readable until the interpreter has started. */
class Assets {
  // Not the whole source: what is held here is held as long as the realm lives.
  readonly #source: Pick<RealmSource, "pyodideDir" | "xzScript">;
  #open = true;

  constructor({ pyodideDir, xzScript }: RealmSource) {
    this.#source = { pyodideDir, xzScript };
  }

  close(): void {
    this.#open = false;
  }

  script(name: string): vm.Script {
    const text = readFileSync(`${this.#source.pyodideDir}${name}`, "utf8");
    return new vm.Script(text, { filename: `pyodide/${name}` });
  }

  asmScript(cachedData: Uint8Array | null): vm.Script {
    const name = "pyodide.asm.js";
    const text = readFileSync(`${this.#source.pyodideDir}${name}`, "utf8");
    return new vm.Script(text, {
      filename: `pyodide/${name}`,
      ...(cachedData === null ? {} : { cachedData: Buffer.from(cachedData) }),
    });
  }

  functions(runAsm: () => void) {
    const files = new Map<string, Uint8Array>();
    const bytesOf = (path: unknown): Uint8Array => {
      if (!this.#open || typeof path !== "string") throw new Error("denied");
      const bytes = files.get(path) ?? this.#read(path);
      files.set(path, bytes);
      return bytes;
    };
    return {
      assetSize: (path: unknown) => bytesOf(path).byteLength,
      assetFill: (path: unknown, target: unknown) => {
        copyInto(target, bytesOf(path));
        files.delete(String(path));
      },
      runScript: (path: unknown) => {
        if (!this.#open || path !== "/pyodide.asm.js") throw new Error("denied");
        runAsm();
      },
    };
  }

  #read(path: string): Uint8Array {
    if (path === "/pyodide.asm.wasm" || path === "/python_stdlib.zip") {
      return readFileSync(`${this.#source.pyodideDir}${path.slice(1)}`);
    }
    if (path === "/xz.wasm") return wasmOfXz(readFileSync(this.#source.xzScript, "utf8"));
    throw new Error("denied");
  }
}

/** xz-decompress 0.2.3 ships its WebAssembly as a data URL inside its script. */
function wasmOfXz(script: string): Uint8Array {
  const base64 = /data:application\/wasm;base64,([A-Za-z0-9+/=]+)/.exec(script)?.[1];
  if (base64 === undefined) throw new Error("xz-decompress holds no WebAssembly");
  return Buffer.from(base64, "base64");
}
