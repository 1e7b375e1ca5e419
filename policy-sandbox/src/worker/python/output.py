"""What a policy prints, kept apart from its result and bounded."""

import io
import sys


class Capture(io.TextIOBase):
    """A text stream that keeps the first `limit` UTF-8 bytes and counts the rest as lost."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self):
        self._parts = []
        self._left = 0
        self._truncated = False
        self.buffer = CaptureBytes(self)

    def restart(self, limit):
        self._parts = []
        self._left = limit
        self._truncated = False
        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = self

    def take(self):
        """The text so far and whether some was lost."""
        text = "".join(self._parts)
        self._parts = []
        return text, self._truncated

    def writable(self):
        return True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        if self._left <= 0:
            self._truncated = self._truncated or text != ""
            return len(text)
        head = text[: self._left].encode("utf-8", "replace")
        self._truncated = self._truncated or len(head) > self._left or len(text) > self._left
        kept = head[: self._left]
        self._left -= len(kept)
        self._parts.append(kept.decode("utf-8", "ignore"))
        return len(text)


class CaptureBytes(io.RawIOBase):
    def __init__(self, text):
        self._text = text

    def writable(self):
        return True

    def write(self, data):
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "replace"))
        return len(raw)
