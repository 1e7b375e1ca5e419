"""Objects of the host that a policy finds in its settings: synchronous calls over the worker's channel."""

import builtins
import functools
import json

from . import requests_shim

# The host refuses longer ones (host-calls.ts) and ends a worker that sends one beyond its frame.
_MAX_CALL_CHARS = 256 * 1024

_bridge = {}


def connect(call_host):
    _bridge["call"] = call_host


class HostClient:
    __slots__ = ("_name", "_methods")

    def __init__(self, name, methods):
        self._name = name
        self._methods = frozenset(methods)

    def __getattr__(self, method):
        if method not in self._methods:
            known = ", ".join(sorted(self._methods)) or "none"
            raise AttributeError("%s has no method %r; it has: %s" % (self._name, method, known))
        return functools.partial(_call, self._name, method)

    def __dir__(self):
        return sorted(self._methods)

    def __repr__(self):
        return "<host client %s>" % self._name

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


class CallableHostClient(HostClient):
    __slots__ = ()

    def __call__(self, *args, **kwargs):
        return _call(self._name, None, *args, **kwargs)


def make(name, description):
    kind = CallableHostClient if description["callable"] else HostClient
    return kind(name, description["methods"])


def _call(client, method, /, *args, **kwargs):
    request = {"client": client, "method": method, "args": args, "kwargs": kwargs}
    text = json.dumps(request, allow_nan=False)
    if len(text) > _MAX_CALL_CHARS:
        raise ValueError("the arguments exceed %d characters" % _MAX_CALL_CHARS)
    reply = json.loads(_bridge["call"](text))
    kind = reply["kind"]
    if kind == "value":
        return reply["value"]
    if kind == "tuple":
        return tuple(reply["items"])
    raise exception_class(reply["type"])(reply["message"])


def exception_class(name):
    known = getattr(builtins, name, None) or getattr(requests_shim.exceptions, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        return known
    return type(name, (RuntimeError,), {})
