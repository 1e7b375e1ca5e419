import { readFileSync } from "node:fs";

/** The runner's modules, each after those that it imports. */
export const PYTHON_MODULES = [
  "seal",
  "values",
  "output",
  "failures",
  "requests_shim",
  "capabilities",
  "loader",
  "archive",
  "inspection",
  "residents",
  "runner",
] as const;

// What policies import most (policy-requirements.md), and what the runner itself needs.
const PREIMPORTED = `
import abc, ast, base64, bisect, bz2, calendar, collections, contextlib, copy, csv, dataclasses, datetime
import decimal, enum, fractions, functools, gzip, hashlib, heapq, importlib, importlib.util, inspect, io
import itertools, json, logging, marshal, math, numbers, operator, os, pprint, queue, random, re, secrets, statistics
import string, struct, sys, tarfile, textwrap, threading, time, traceback, types, typing, urllib.parse, uuid
import warnings, weakref, zipfile, zlib
`;

const INSTALL = `
import sys, types
_package = types.ModuleType("_berth")
_package.__path__ = []
sys.modules["_berth"] = _package
def _install(name, source):
    module = types.ModuleType("_berth." + name)
    module.__package__ = "_berth"
    sys.modules[module.__name__] = module
    exec(compile(source, "berth/" + name + ".py", "exec", dont_inherit=True), module.__dict__)
    setattr(_package, name, module)
`;

/** Evaluates to the function that seals the interpreter and returns its dispatcher. */
export const CONNECT_SOURCE = "import sys\nsys.modules['_berth.runner'].connect";

/** The file of one of the runner's modules. */
export function pythonFile(name: (typeof PYTHON_MODULES)[number]): URL {
  return new URL(`python/${name}.py`, import.meta.url);
}

/** Python source that installs the runner as the package `_berth`; it goes into the memory image. */
export function runnerSource(): string {
  const installs = PYTHON_MODULES.map((name) => {
    const text = readFileSync(pythonFile(name), "utf8");
    return `_install(${JSON.stringify(name)}, ${JSON.stringify(text)})`;
  });
  return [PREIMPORTED, INSTALL, ...installs, "del _install, _package, sys, types"].join("\n");
}
