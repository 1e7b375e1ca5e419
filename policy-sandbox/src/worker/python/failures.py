"""Tells an exception of a policy from the policy's own frames."""

import traceback

_MESSAGE_CHARS = 2_000
_TRACEBACK_CHARS = 8_000
_FRAMES = 20


def describe(error, files):
    """A dict for the host: type, message, file, line, traceback. `files` are the policy's file names."""
    own = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename in files
    ]
    shown = own if len(own) <= _FRAMES else own[: _FRAMES // 2] + own[-_FRAMES // 2 :]
    frames = traceback.StackSummary.extract(shown)
    place = (frames[-1].filename, frames[-1].lineno) if frames else (None, None)
    if isinstance(error, SyntaxError) and error.filename in files:
        place = (error.filename, error.lineno)
    return {
        "type": type(error).__name__[:200],
        "message": _message(error)[:_MESSAGE_CHARS],
        "file": place[0],
        "line": place[1],
        "traceback": _text(error, frames)[:_TRACEBACK_CHARS],
    }


def _message(error):
    try:
        return str(error)
    except BaseException as second:
        return "<no message: str() raised %s>" % type(second).__name__


def _text(error, frames):
    try:
        lines = frames.format()
        lines += traceback.format_exception_only(error)
    except BaseException as second:
        lines = ["%s (its text raised %s)" % (type(error).__name__, type(second).__name__)]
    if frames:
        lines.insert(0, "Traceback (most recent call last):\n")
    return "".join(lines)
