"""JSON documents that stay in the interpreter between evaluations, and what evaluations get of them.

Everything that is held hangs on one object, which is replaced and never changed: an interrupt or a
MemoryError in the middle of an intake leaves the one before, whole.
"""

import json
import marshal
import random

# Parts that a sampled evaluation compares at most.
_SAMPLE = 64
_MAX_TEMPLATES = 32

_random = random.Random()


class Held:
    __slots__ = ("revision", "parts", "lists", "templates")

    def __init__(self, revision, parts, lists):
        self.revision = revision
        self.parts = parts  # {part: {id: Record}}
        self.lists = lists  # {number: [id]}
        self.templates = {}


class Record:
    """One document's part: the value, and what it was made from, so that a change by a policy shows."""

    __slots__ = ("value", "_blob", "_edits")

    def __init__(self, value, blob, edits):
        self.value = value
        self._blob = blob  # the text's value as marshal bytes
        self._edits = edits  # {path as a tuple: value that was set since}

    def __repr__(self):
        return repr(self.value)

    def pristine(self):
        """A copy of its own, as it was made."""
        value = marshal.loads(self._blob)
        for path, new in self._edits.items():
            target = value
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = new
        return value

    def edited(self, edits):
        """The record with members set: what lies on the paths is copied, the rest is shared."""
        known = dict(self._edits)
        known.update((tuple(path), new) for path, new in edits)
        record = Record(None, self._blob, known)
        try:
            value = self.value
            for path, new in edits:
                value = _with(value, path, new)
            record.value = value
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            record.value = record.pristine()  # a policy has changed what lies on a path
        return record

    def is_pristine(self, value):
        """Whether a value is what this was made from, types and order of keys included."""
        try:
            if not self._edits and marshal.dumps(value) == self._blob:
                return True
            # That form tells shared objects from equal ones; the second version does not.
            return marshal.dumps(value, 2) == marshal.dumps(self.pristine(), 2)
        except ValueError:  # an object that no JSON text makes, or a value that contains itself
            return False


def _with(value, path, new):
    root = target = value.copy()
    for step in path[:-1]:
        target[step] = target[step].copy()
        target = target[step]
    target[path[-1]] = new
    return root


class View:
    """What one evaluation got: `input_data`, and how to compare it afterwards."""

    __slots__ = ("data", "_pairs")

    def __init__(self, data, pairs):
        self.data = data
        self._pairs = pairs

    def check(self):
        return "clean" if all(record.is_pristine(value) for value, record in self._pairs) else "changed"


class Residents:
    def __init__(self):
        self._held = Held(0, {}, {})

    def revision(self):
        return self._held.revision

    def take_in(self, intake, blob, decode):
        """Takes in all of an intake or, when anything fails, nothing. `decode(name, text, strict)` parses."""
        before = Held(0, {}, {}) if intake["reset"] else self._held
        parts = {part: dict(documents) for part, documents in before.parts.items()}
        for part, id in intake["drop"]:
            parts.get(part, {}).pop(id, None)
        at = 0
        for part, id, size, strict, is_edits in intake["take"]:
            text = blob[at : at + size].decode("utf-8")
            at += size
            value = decode("resident %s.%s" % (id[:120], part[:120]), text, strict)
            documents = parts.setdefault(part, {})
            if is_edits:
                documents[id] = documents[id].edited(value)
            else:
                documents[id] = Record(value, marshal.dumps(value), {})
        lists = {number: ids for number, ids in before.lists.items() if number not in intake["forget"]}
        if intake["list"] is not None:
            lists[intake["list"][0]] = intake["list"][1]
        self._held = Held(intake["revision"], parts, lists)

    def view(self, wanted, data):
        """`wanted` = {list, shape, mode}; `data` is what the request holds besides."""
        held = self._held
        key = (wanted["list"], wanted["shape"])
        template = held.templates.get(key)
        if template is None:
            template = _template(held, *key)
            if len(held.templates) >= _MAX_TEMPLATES:
                held.templates.clear()
            held.templates[key] = template
        mode = wanted["mode"]
        pairs = ()
        if mode == "sampled":
            pairs = template.sample()
        elif mode != "shared":
            template, pairs = template.copy()
        return View(template.fill(data), pairs)


class ListTemplate:
    __slots__ = ("_records",)

    def __init__(self, records):
        self._records = records

    def fill(self, data):
        return [record.value for record in self._records]

    def copy(self):
        records = [_copy_of(record) for record in self._records]
        return ListTemplate(records), _pairs(records)

    def sample(self):
        return _sample(self._records)


class MembersTemplate:
    __slots__ = ("_key", "_fields", "_records", "_members")

    def __init__(self, key, fields, records):
        self._key = key
        self._fields = fields  # [[field, part]]
        self._records = records  # {part: {id: Record}}, the same ids in each
        ids = next(iter(records.values()))
        self._members = [
            (id, {field: records[part][id].value for field, part in fields}) for id in ids
        ]

    def fill(self, data):
        data[self._key] = {id: member.copy() for id, member in self._members}
        return data

    def copy(self):
        records = {
            part: {id: _copy_of(record) for id, record in found.items()}
            for part, found in self._records.items()
        }
        pairs = _pairs(record for found in records.values() for record in found.values())
        return MembersTemplate(self._key, self._fields, records), pairs

    def sample(self):
        return _sample([record for found in self._records.values() for record in found.values()])


def _template(held, number, shape_text):
    ids = held.lists[number]
    shape = json.loads(shape_text)
    if shape[0] == "list":
        found = held.parts.get(shape[1], {})
        return ListTemplate([found[id] for id in ids])
    _, key, fields = shape
    records = {}
    for _, part in fields:
        found = held.parts.get(part, {})
        records[part] = {id: found[id] for id in ids}
    return MembersTemplate(key, fields, records)


def _copy_of(record):
    return Record(record.pristine(), record._blob, record._edits)


def _pairs(records):
    """Values to compare with what they were made from."""
    return [(record.value, record) for record in records]


def _sample(records):
    return _pairs(records if len(records) <= _SAMPLE else _random.sample(records, _SAMPLE))


def seed():
    """The memory image carries one generator state: every worker would draw the same."""
    _random.seed()
