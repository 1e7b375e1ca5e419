"""JSON out of Python values, strictly: what JSON cannot say is refused with the place where it stands."""

import json
import math


_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)

_CONTAINERS = (dict, list, tuple)
_PLAIN = frozenset((str,))


class InvalidValue(Exception):
    """`path` names the place ("result.gpus[1]"), `message` says what is wrong there."""

    def __init__(self, path, message):
        super().__init__(message)
        self.path = path
        self.message = message


def dump(value, root, limits):
    """The JSON text of `value`; `limits` = (deepest nesting, most UTF-8 bytes)."""
    max_depth, max_bytes = limits
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        _check(value, root, max_depth, ())
        raise InvalidValue(root, "cannot be written as JSON: %s" % error) from None
    if text.count("[") + text.count("{") > max_depth:
        _check(value, root, max_depth, ())
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:  # a lone surrogate travels as its escape
        text = json.dumps(value, allow_nan=False)
        size = len(text)
    if size > max_bytes:
        raise InvalidValue(root, "%d bytes as JSON, at most %d are allowed" % (size, max_bytes))
    if "{" in text and _has_other_keys(value):
        _check_keys(value, root)
    return text


def _has_other_keys(value):
    """Whether a key stands somewhere that is no plain string: only those can look like another one in JSON."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not _PLAIN.issuperset(map(type, one)):
                return True
            one = one.values()
        elif not isinstance(one, (list, tuple)):
            continue
        waiting.extend([item for item in one if isinstance(item, _CONTAINERS)])
    return False


def _check_keys(value, path):
    if isinstance(value, dict):
        seen = {}
        for key in value:
            (name,) = json.loads(json.dumps({key: None}))
            if name in seen:
                keys = ascii(seen[name])[:80], ascii(key)[:80]
                raise InvalidValue(_member(path, name), "the keys %s and %s are one in JSON" % keys)
            seen[name] = key
    for place, item in _items(value, path):
        if isinstance(item, _CONTAINERS):
            _check_keys(item, place)


def _check(value, path, depth_left, parents):
    if value is None or isinstance(value, (str, int)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue(path, "%s is not valid JSON" % _name_of(value))
        return
    if not isinstance(value, (dict, list, tuple)):
        raise InvalidValue(path, "%s is not valid JSON" % type(value).__name__)
    if id(value) in parents:
        raise InvalidValue(path, "refers back to an object that contains it")
    if depth_left == 0:
        raise InvalidValue(path, "nested too deeply")
    inside = (*parents, id(value))
    for key, item in _items(value, path):
        _check(item, key, depth_left - 1, inside)


def _items(value, path):
    if isinstance(value, dict):
        for key, item in value.items():
            if not (key is None or isinstance(key, (str, int, float))):
                raise InvalidValue(path, "a key is a %s, expected a string" % type(key).__name__)
            if isinstance(key, float) and not math.isfinite(key):
                raise InvalidValue(path, "a key is %s, expected a string" % _name_of(key))
            yield _member(path, key), item
    else:
        for index, item in enumerate(value):
            yield "%s[%d]" % (path, index), item


def _member(path, key):
    text = str(key)[:80]
    if text.isidentifier():
        return "%s.%s" % (path, text)
    return "%s[%s]" % (path, json.dumps(text))


def _name_of(number):
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
