"""The worker's side in Python: one dispatcher that takes a request and gives a reply, and never raises.

A request is one text: a JSON header and the short parts, separated by NUL (which JSON texts never contain),
plus the long parts as binary sections. `header["parts"]` names the short ones, then the long ones. A reply is
one text in the same way: JSON head and payloads.
"""

import _signal
import json
import math
import random
import signal
import sys
import time

from . import (
    archive,
    capabilities,
    failures,
    inspection,
    loader,
    output,
    requests_shim,
    residents,
    seal,
    values,
)

_NUL = "\0"
# Raised anywhere in the policy's code: what it was changing may be half changed.
_STATE_IN_DOUBT = (KeyboardInterrupt, MemoryError, SystemExit)


class Run:
    """What one evaluation has come to know of itself."""

    __slots__ = ("cold", "crowded", "exhausted", "view")

    def __init__(self):
        self.cold = False
        self.crowded = False  # loading for the second time
        self.exhausted = False
        self.view = None


class InvalidInput(Exception):
    """A text of the caller is not JSON that Python can hold exactly; the message names it."""


class IntakeFailed(Exception):
    """The resident documents do not fit into the interpreter."""


class Runner:
    def __init__(self, bridge):
        self._bridge = bridge
        self._loader = loader.Loader(bridge["uses_more_than"])
        self._capture = output.Capture()
        self._residents = residents.Residents()
        self._operations = {
            "evaluate": self._evaluate,
            "unpack": self._unpack,
            "check": self._check,
        }

    def dispatch(self, request, *sections):
        header_text, *texts = request.split(_NUL)
        header = _DECODER.decode(header_text)
        parts = dict(zip(header["parts"], (*texts, *sections), strict=True))
        # A policy may have told Python to ignore the interrupt; that must not outlive its evaluation.
        if _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.setrecursionlimit(1_000)
        self._capture.restart(header["limits"]["logBytes"])
        return self._operations[header["operation"]](header, parts)

    def _evaluate(self, header, parts):
        run = Run()
        try:
            head, payloads = self._call(header, parts, run)
        except values.InvalidValue as invalid:
            head, payloads = {
                "kind": "invalid_result",
                "path": invalid.path,
                "message": invalid.message,
            }, ()
        except InvalidInput as invalid:
            head, payloads = {"kind": "invalid_input", "message": str(invalid)}, ()
        except (loader.ActivationFailed, IntakeFailed) as failed:
            head, payloads = {"kind": "broken", "message": str(failed)}, ()
        except BaseException as error:
            if isinstance(error, _STATE_IN_DOUBT):
                run.view = None
                run.exhausted = isinstance(error, MemoryError)
                self._loader.drop(header["instance"])
            described = failures.describe(error, self._loader.active_files())
            head, payloads = {"kind": "raised", "error": described}, ()
        self._loader.suspend()
        text, truncated = self._capture.take()
        head.update(
            log=text,
            logTruncated=truncated,
            cold=run.cold,
            exhausted=run.exhausted,
            crowded=run.exhausted and run.crowded,
            instances=self._loader.keys(),
            revision=self._residents.revision(),
            input=_check_input(run.view),
        )
        return _NUL.join((_ENCODER.encode(head), *payloads))

    def _call(self, header, parts, run):
        limits = header["limits"]
        self._loader.make_room(header["instance"], limits["sharedBytes"])
        if "intake" in parts:
            self._take_in(parts)
        instance = self._instance(header, parts, run)
        call = header["call"]
        context = _parse(header, parts, "context")
        # Nearly every context is empty and stays so.
        before = _ENCODER.encode(context) if context else "{}"
        data = self._input(header, parts, run)
        if call["kind"] == "management":
            value = instance.policy.management(call["action"], data)
        else:
            value = instance.policy.eval(instance.parameters, data, context)
        result = values.dump(value, "result", (limits["resultDepth"], limits["outputBytes"]))
        if not context and before == "{}":
            return {"kind": "returned"}, (result, "")
        after = values.dump(context, "context", (limits["resultDepth"], limits["contextBytes"]))
        return {"kind": "returned"}, (result, "" if _ENCODER.encode(context) == before else after)

    def _take_in(self, parts):
        try:
            intake = _DECODER.decode(_text(parts["intake"]))
            self._residents.take_in(intake, _bytes(parts["blob"]), _decode)
        except MemoryError:
            raise IntakeFailed("the resident documents do not fit into the interpreter's memory") from None

    def _instance(self, header, parts, run):
        instance = self._loader.get(header["instance"])
        if instance is None:
            run.cold = True
            instance = self._load(header, parts, run)
            self._loader.make_room(header["instance"], header["limits"]["sharedBytes"])
        return instance

    def _load(self, header, parts, run):
        alone = self._loader.is_fresh
        try:
            return self._load_once(header, parts)
        except MemoryError:
            if alone:
                raise
        # Only out here: the error held all that the attempt had made.
        self._loader.drop_all()
        run.crowded = True
        instance = self._load_once(header, parts)
        run.crowded = False
        return instance

    def _load_once(self, header, parts):
        # Anew for each attempt, because a policy may change what it gets.
        source = {name: _parse(header, parts, name) for name in ("files", "settings", "parameters")}
        source.update(clients=header["clients"], environment=header["environment"])
        return self._loader.load(header["instance"], source)

    def _input(self, header, parts, run):
        data = _parse(header, parts, "input")
        wanted = header.get("resident")
        if wanted is None:
            return data
        if wanted["members"] and not isinstance(data, dict):
            raise InvalidInput("input: expected a JSON object, because resident adds a member to it")
        run.view = self._residents.view(wanted, data)
        return run.view.data

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
        files = _DECODER.decode(_text(parts["files"]))
        return json.dumps({"kind": "checked"}) + _NUL + json.dumps(inspection.inspect(files))


def _bytes(part):
    return part.encode("utf-8") if isinstance(part, str) else part.to_bytes()


def _text(part):
    return part if isinstance(part, str) else part.to_bytes().decode("utf-8")


def _parse(header, parts, name):
    return _decode(name, _text(parts[name]), name in header["strictNumbers"])


def _decode(name, text, strict):
    try:
        return (_STRICT_DECODER if strict else _DECODER).decode(text)
    except ValueError as error:
        raise InvalidInput("%s: %s" % (name, error)) from None


def _check_input(view):
    if view is None:
        return "unknown"
    try:
        return view.check()
    except BaseException:  # the policy holds all the memory, or its time is over
        return "unknown"


def _refuse_constant(name):
    raise ValueError("%s is not valid JSON" % name)


def _exact_float(text):
    number = float(text)
    if math.isinf(number):
        raise ValueError("the number %s does not fit a double" % text[:40])
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_STRICT_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_exact_float)
_ENCODER = json.JSONEncoder()


def connect(call_host, pause, unxz, uses_more_than):
    """Seals the interpreter and gives the dispatcher to the realm."""
    capabilities.connect(call_host)
    requests_shim.install()
    seal.seal()
    random.seed()  # the memory image carries one generator state: every worker would draw the same
    residents.seed()

    def sleep(seconds):
        """time.sleep that neither burns the CPU nor outlasts the deadline."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if pause(float(seconds) * 1_000):
            raise KeyboardInterrupt

    time.sleep = sleep
    return Runner({"unxz": unxz, "uses_more_than": uses_more_than}).dispatch
