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
        self.parts = parts  # {part: {id: (value, pristine copy as marshal bytes)}}
        self.lists = lists  # {number: [id]}
        self.templates = {}


class View:
    """What one evaluation got: `input_data`, and how to compare it afterwards."""

    __slots__ = ("data", "_pairs")

    def __init__(self, data, pairs):
        self.data = data
        self._pairs = pairs

    def check(self):
        return "clean" if all(_is_pristine(value, blob) for value, blob in self._pairs) else "changed"


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
        for part, id, size, strict in intake["take"]:
            text = blob[at : at + size].decode("utf-8")
            at += size
            value = decode("resident %s.%s" % (id[:120], part[:120]), text, strict)
            parts.setdefault(part, {})[id] = (value, marshal.dumps(value))
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
        return [value for value, _ in self._records]

    def copy(self):
        records = [(marshal.loads(blob), blob) for _, blob in self._records]
        return ListTemplate(records), records

    def sample(self):
        return _sample(self._records)


class MembersTemplate:
    __slots__ = ("_key", "_fields", "_records", "_members")

    def __init__(self, key, fields, records):
        self._key = key
        self._fields = fields  # [[field, part]]
        self._records = records  # {part: {id: (value, blob)}}, the same ids in each
        ids = next(iter(records.values()))
        self._members = [
            (id, {field: records[part][id][0] for field, part in fields}) for id in ids
        ]

    def fill(self, data):
        data[self._key] = {id: member.copy() for id, member in self._members}
        return data

    def copy(self):
        records = {
            part: {id: (marshal.loads(blob), blob) for id, (_, blob) in found.items()}
            for part, found in self._records.items()
        }
        pairs = [record for found in records.values() for record in found.values()]
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


def _sample(records):
    return records if len(records) <= _SAMPLE else _random.sample(records, _SAMPLE)


def _is_pristine(value, blob):
    """Whether a value is what it was made from, types and order of keys included."""
    try:
        if marshal.dumps(value) == blob:
            return True
        # That form tells shared objects from equal ones; the second version does not.
        return marshal.dumps(value, 2) == marshal.dumps(marshal.loads(blob), 2)
    except ValueError:  # an object that no JSON text makes, or a value that contains itself
        return False


def seed():
    """The memory image carries one generator state: every worker would draw the same."""
    _random.seed()
