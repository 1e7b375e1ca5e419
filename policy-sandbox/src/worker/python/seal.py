"""Takes the doors to JavaScript and to the operating system out of the interpreter.

Friction and clear errors, not the boundary: a policy that undoes this meets the sealed realm, and behind
it a process without permissions.
"""

import asyncio
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

_NO_LOOP = "asyncio's event loop is not available in the policy sandbox"

_FOREIGN_FINDERS = ("JsFinder", "UnvendoredFinder", "RepodataPackagesFinder")


class DenyFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in DENIED:
            raise ImportError("module %r is not available in the policy sandbox" % name, name=name)
        return None


class NoLoopPolicy(asyncio.AbstractEventLoopPolicy):
    def get_event_loop(self):
        raise RuntimeError(_NO_LOOP)

    def new_event_loop(self):
        raise RuntimeError(_NO_LOOP)

    def set_event_loop(self, loop):
        raise RuntimeError(_NO_LOOP)


def _run(main, **options):
    if asyncio.iscoroutine(main):
        main.close()  # or Python warns that it was never awaited
    raise RuntimeError(_NO_LOOP)


def _seal_asyncio():
    """Pyodide's loop waits for a browser's timers, which never fire here."""
    asyncio.events._set_running_loop(None)
    asyncio.set_event_loop_policy(NoLoopPolicy())
    asyncio.run = asyncio.runners.run = _run


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
    _seal_asyncio()
    for module in (os, posix):
        for name in _STRIPPED:
            if hasattr(module, name):
                delattr(module, name)
