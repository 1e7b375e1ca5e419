"""Takes the doors to JavaScript and to the operating system out of the interpreter.

Friction and clear errors, not the boundary: a policy that undoes this meets the sealed realm, and behind
it a process without permissions.
"""

import os
import sys

DENIED = frozenset(
    (
        "js pyodide_js _pyodide_core _pyodide pyodide micropip webbrowser ctypes _ctypes _ctypes_test cffi "
        "multiprocessing _multiprocessing subprocess _posixsubprocess gc mmap fcntl resource termios pty tty "
        "faulthandler _testcapi _testinternalcapi"
    ).split()
)

_STRIPPED = (
    "system popen fork forkpty posix_spawn posix_spawnp execv execve spawnv spawnve kill killpg _exit abort"
).split()

_FOREIGN_FINDERS = ("JsFinder", "UnvendoredFinder", "RepodataPackagesFinder")


class DenyFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in DENIED:
            raise ImportError("module %r is not available in the policy sandbox" % name, name=name)
        return None


def seal():
    from _pyodide import _importhook
    import posix

    for name in ("js", "pyodide_js"):
        _importhook.unregister_js_module(name)
    kept = [finder for finder in sys.meta_path if type(finder).__name__ not in _FOREIGN_FINDERS]
    sys.meta_path[:] = [DenyFinder, *kept]
    for name in list(sys.modules):
        if name.partition(".")[0] in DENIED:
            del sys.modules[name]
    for module in (os, posix):
        for name in _STRIPPED:
            if hasattr(module, name):
                delattr(module, name)
