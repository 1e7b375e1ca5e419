"""The worker's side in Python: one dispatcher that takes a request and gives a reply, and never raises.

A request is a JSON header plus binary parts named by `header["parts"]`. A reply is one text: JSON head and
payloads, separated by NUL (which JSON texts never contain).
"""

import json
import math
import random
import signal
import sys
import time

from . import archive, capabilities, failures, inspection, loader, output, requests_shim, seal, values

_NUL = "\0"
# Raised anywhere in the policy's code: what it was changing may be half changed.
_STATE_IN_DOUBT = (KeyboardInterrupt, MemoryError, SystemExit)


class InvalidInput(Exception):
    """A text of the caller is not JSON that Python can hold exactly; the message names it."""


class Runner:
    def __init__(self, bridge):
        self._bridge = bridge
        self._loader = loader.Loader()
        self._capture = output.Capture()
        self._operations = {
            "evaluate": self._evaluate,
            "unpack": self._unpack,
            "check": self._check,
        }

    def dispatch(self, header_text, *sections):
        header = json.loads(header_text)
        parts = dict(zip(header["parts"], sections, strict=True))
        # A policy may have told Python to ignore the interrupt; that must not outlive its evaluation.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.setrecursionlimit(1_000)
        self._capture.restart(header["limits"]["logBytes"])
        return self._operations[header["operation"]](header, parts)

    def _evaluate(self, header, parts):
        facts = {"cold": False}
        try:
            head, payloads = self._call(header, parts, facts)
        except values.InvalidValue as invalid:
            head, payloads = {
                "kind": "invalid_result",
                "path": invalid.path,
                "message": invalid.message,
            }, ()
        except InvalidInput as invalid:
            head, payloads = {"kind": "invalid_input", "message": str(invalid)}, ()
        except loader.ActivationFailed as failed:
            head, payloads = {"kind": "broken", "message": str(failed)}, ()
        except BaseException as error:
            if isinstance(error, _STATE_IN_DOUBT):
                self._loader.drop(header["instance"])
            described = failures.describe(error, self._loader.active_files())
            head, payloads = {"kind": "raised", "error": described}, ()
        self._loader.suspend()
        text, truncated = self._capture.take()
        head.update(log=text, logTruncated=truncated, cold=facts["cold"], instances=self._loader.keys())
        return _NUL.join((json.dumps(head), *payloads))

    def _call(self, header, parts, facts):
        key = header["instance"]
        instance = self._loader.get(key)
        if instance is None:
            facts["cold"] = True
            source = {name: _parse(header, parts, name) for name in ("files", "settings", "parameters")}
            source.update(clients=header["clients"], environment=header["environment"])
            instance = self._loader.load(key, source)
        limits = header["limits"]
        call = header["call"]
        context = _parse(header, parts, "context")
        before = json.dumps(context)
        data = _parse(header, parts, "input")
        if call["kind"] == "management":
            value = instance.policy.management(call["action"], data)
        else:
            value = instance.policy.eval(instance.parameters, data, context)
        result = values.dump(value, "result", (limits["resultDepth"], limits["outputBytes"]))
        after = values.dump(context, "context", (limits["resultDepth"], limits["contextBytes"]))
        return {"kind": "returned"}, (result, "" if json.dumps(context) == before else after)

    def _unpack(self, header, parts):
        compressed = parts["archive"]

        def unxz(limit):
            return self._bridge["unxz"](compressed, limit).to_bytes()

        try:
            files = archive.unpack(compressed.to_bytes(), header["limits"], unxz)
            return json.dumps({"kind": "unpacked"}) + _NUL + json.dumps(files)
        except archive.Refused as error:
            refused = error
        except KeyboardInterrupt:
            refused = archive.Refused("too_large", "the archive takes too long to unpack")
        except MemoryError:
            refused = archive.Refused("too_large", "the archive needs too much memory to unpack")
        return json.dumps({"kind": "refused", "reason": refused.reason, "message": refused.message})

    def _check(self, header, parts):
        files = json.loads(_text(parts["files"]))
        return json.dumps({"kind": "checked"}) + _NUL + json.dumps(inspection.inspect(files))


def _text(part):
    return part.to_bytes().decode("utf-8")


def _parse(header, parts, name):
    hooks = {"parse_constant": _refuse_constant}
    if name in header["strictNumbers"]:
        hooks["parse_float"] = _exact_float
    try:
        return json.loads(parts[name].to_bytes(), **hooks)
    except ValueError as error:
        raise InvalidInput("%s: %s" % (name, error)) from None


def _refuse_constant(name):
    raise ValueError("%s is not valid JSON" % name)


def _exact_float(text):
    number = float(text)
    if math.isinf(number):
        raise ValueError("the number %s does not fit a double" % text[:40])
    return number


def connect(call_host, pause, unxz):
    """Seals the interpreter and gives the dispatcher to the realm."""
    capabilities.connect(call_host)
    requests_shim.install()
    seal.seal()
    random.seed()  # the memory image carries one generator state: every worker would draw the same

    def sleep(seconds):
        """time.sleep that neither burns the CPU nor outlasts the deadline."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if pause(float(seconds) * 1_000):
            raise KeyboardInterrupt

    time.sleep = sleep
    return Runner({"unxz": unxz}).dispatch
