"""Reads policy archives with bounds: tar in any compression, or zip, told by content and not by name."""

import bz2
import io
import stat
import tarfile
import zipfile
import zlib

_ENTRY = "code/function.py"
_TAR_OVERHEAD_BYTES = 2 * 1024 * 1024
_CHUNK = 64 * 1024
_XZ = b"\xfd7zXZ\x00"
_SKIPPED_PARTS = frozenset(("__pycache__", ".ipynb_checkpoints", "__MACOSX"))
_SKIPPED_NAMES = frozenset((".DS_Store",))
_CORRUPT = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)


class Refused(Exception):
    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason
        self.message = message


def unpack(data, limits, unxz):
    """{path: text} below the folder that holds `code/`; `unxz(limit)` decompresses the whole archive."""
    try:
        raw = _files(data, limits, unxz)
    except _CORRUPT as error:
        raise Refused("corrupt", "the archive cannot be read: %s" % str(error)[:300]) from None
    return _decode(_strip_root(raw))


def _files(data, limits, unxz):
    tar = _open_tar(_decompress(data, limits, unxz))
    if tar is not None:
        return _read_tar(tar, limits)
    if zipfile.is_zipfile(io.BytesIO(data)):
        return _read_zip(zipfile.ZipFile(io.BytesIO(data)), limits)
    raise Refused("not_an_archive", "neither a tar archive (plain, gz, bz2, xz) nor a zip archive")


def _decompress(data, limits, unxz):
    limit = limits["unpackedBytes"] + _TAR_OVERHEAD_BYTES
    if data[:2] == b"\x1f\x8b":
        return _inflate(data, lambda: zlib.decompressobj(wbits=31), limit)
    if data[:3] == b"BZh":
        return _inflate(data, bz2.BZ2Decompressor, limit)
    if data[:6] == _XZ:
        try:
            plain = unxz(limit + 1)
        except Exception as error:
            message = str(error).removeprefix("Error: ")[:200]
            raise Refused("corrupt", "the xz data %s" % message) from None
        return _within(plain, limit)
    return data


def _inflate(data, make, limit):
    plain = bytearray()
    rest = data
    while rest:
        decoder = make()
        while not decoder.eof:
            chunk = decoder.decompress(rest, _CHUNK)
            rest = getattr(decoder, "unconsumed_tail", b"")
            plain += chunk
            _within(plain, limit)
            if not chunk and not rest and not decoder.eof:
                raise EOFError("the compressed data ends too early")
        rest = decoder.unused_data.lstrip(b"\0")
    return bytes(plain)


def _within(plain, limit):
    if len(plain) > limit:
        raise Refused("too_large", "the archive unpacks to more than %d bytes" % limit)
    return plain


def _open_tar(data):
    try:
        return tarfile.open(fileobj=io.BytesIO(data), mode="r:")
    except tarfile.TarError:
        return None


def _read_tar(tar, limits):
    collector = Collector(limits)
    for member in tar:
        if member.isdir():
            collector.folder(member.name)
        elif member.isreg() and not member.issparse():
            if collector.wants(member.name, member.size):
                collector.add(member.name, tar.extractfile(member).read())
        else:
            raise Refused("unsafe_entry", "%s is a link or a device, expected files only" % member.name[:200])
    return collector.files


def _read_zip(archive, limits):
    collector = Collector(limits)
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused("unsafe_entry", "%s is a link or a device, expected files only" % info.filename[:200])
        if info.is_dir():
            collector.folder(info.filename)
        elif collector.wants(info.filename, info.file_size):
            with archive.open(info) as file:
                collector.add(info.filename, file.read(limits["unpackedBytes"] + 1))
    return collector.files


class Collector:
    """Takes entries one by one and refuses the first that is too much or not safe."""

    def __init__(self, limits):
        self.files = {}
        self._limits = limits
        self._entries = 0
        self._bytes = 0

    def folder(self, name):
        self._count()
        self._safe(name)

    def wants(self, name, size):
        self._count()
        parts = self._safe(name)
        if not _SKIPPED_PARTS.isdisjoint(parts) or parts[-1] in _SKIPPED_NAMES or parts[-1].startswith("._"):
            return False
        self._room(size)
        return True

    def add(self, name, data):
        self._room(len(data))
        self._bytes += len(data)
        path = "/".join(self._safe(name))
        if path in self.files:
            raise Refused("unsafe_path", "%s stands in the archive twice" % path[:200])
        self.files[path] = data

    def _count(self):
        self._entries += 1
        if self._entries > self._limits["unpackedFiles"]:
            most = self._limits["unpackedFiles"]
            raise Refused("too_many_files", "more than %d entries in the archive" % most)

    def _room(self, size):
        most = self._limits["unpackedBytes"]
        if self._bytes + size > most:
            raise Refused("too_large", "the archive unpacks to more than %d bytes" % most)

    def _safe(self, name):
        shown = name[:200]
        if name.startswith(("/", "\\")) or "\\" in name or ":" in name.partition("/")[0] or "\0" in name:
            raise Refused("unsafe_path", "%s is not a relative path" % shown)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Refused("unsafe_path", "%s leaves the archive" % shown)
        if len(parts) > self._limits["pathDepth"]:
            raise Refused("unsafe_path", "%s is nested more than %d deep" % (shown, self._limits["pathDepth"]))
        return parts or ["."]


def _strip_root(files):
    if _ENTRY in files:
        return {path: data for path, data in files.items() if path.startswith("code/")}
    roots = {path[: -len(_ENTRY)] for path in files if path.endswith("/" + _ENTRY)}
    if len(roots) == 1:
        root = roots.pop()
        kept = root + "code/"
        return {path[len(root) :]: data for path, data in files.items() if path.startswith(kept)}
    found = ", ".join(sorted(files)[:10]) or "nothing"
    if roots:
        message = "more than one folder holds code/function.py: %s" % ", ".join(sorted(roots)[:10])
    else:
        message = "code/function.py is missing; the archive holds: %s" % found
    raise Refused("missing_entry", message[:1_000])


def _decode(files):
    texts = {}
    for path, data in files.items():
        try:
            texts[path] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused("not_text", "%s is not UTF-8 text (byte %d)" % (path[:200], error.start)) from None
    return texts
