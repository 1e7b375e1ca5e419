"""Reads policy archives with bounds: tar in any compression, or zip, told by content and not by name."""

import bz2
import io
import re
import stat
import tarfile
import zipfile
import zlib

_ENTRY = "code/function.py"
_MANIFEST = "policy.yaml"
_TAR_OVERHEAD_BYTES = 2 * 1024 * 1024
_CHUNK = 64 * 1024
# Far more than any packer makes of 18 MiB (bgzip: one for 64 KiB).
_MAX_MEMBERS = 1_000
_MAX_CLAIMED_BYTES = 1024 * 1024 * 1024
_MAX_COMPONENT_BYTES = 255
_MAX_PATH_BYTES = 1_024
_ZEROS = re.compile(rb"\0*")
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f]")
_XZ = b"\xfd7zXZ\x00"
_SKIPPED_PARTS = frozenset(("__pycache__", ".ipynb_checkpoints", "__MACOSX"))
_SKIPPED_NAMES = frozenset((".DS_Store",))


class Refused(Exception):
    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason
        self.message = message


def unpack(data, limits, unxz):
    """{path: text} below the folder that holds `code/`; `unxz(limit)` decompresses the whole archive."""
    try:
        return _decode(_strip_root(_files(data, limits, unxz)))
    except (Refused, MemoryError):
        raise
    except Exception as error:  # the readers raise many kinds for bytes that make no sense
        what = _shown(str(error)) or type(error).__name__
        raise Refused("corrupt", "the archive is corrupt: %s" % what) from None


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
    """Decompresses what may be several members, one after the other, with zeros in between."""
    plain = bytearray()
    at = members = 0
    while at < len(data):
        members += 1
        if members > _MAX_MEMBERS:
            raise Refused("too_large", "the archive has more than %d compressed members" % _MAX_MEMBERS)
        at = _ZEROS.match(data, _inflate_member(data, at, make(), plain, limit)).end()
    return bytes(plain)


def _inflate_member(data, at, decoder, plain, limit):
    """Decompresses one member from `at` on; where it ends. Feeds pieces, so that little is ever copied back."""
    while not decoder.eof:
        piece = data[at : at + _CHUNK] if getattr(decoder, "needs_input", True) else b""
        chunk = decoder.decompress(piece, _CHUNK)
        # At its end a gzip member has the same bytes in both.
        left = decoder.unused_data if decoder.eof else getattr(decoder, "unconsumed_tail", b"")
        at += len(piece) - len(left)
        plain += chunk
        _within(plain, limit)
        if not chunk and not decoder.eof and at >= len(data):
            raise EOFError("the compressed data ends too early")
    return at


def _within(plain, limit):
    if len(plain) > limit:
        raise Refused("too_large", "the archive unpacks to more than %d bytes" % limit)
    return plain


class _Header(tarfile.TarInfo):
    def _block(self, count):
        # Python 3.13.2 goes back to where it was and reads for ever (CVE-2025-8194).
        if not 0 <= count <= _MAX_CLAIMED_BYTES:
            raise Refused("corrupt", "the archive is corrupt: an entry says that it has %d bytes" % count)
        return super()._block(count)


def _open_tar(data):
    try:
        return tarfile.open(fileobj=io.BytesIO(data), mode="r:", tarinfo=_Header)
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
            raise Refused("unsafe_entry", "%s is a link or a device, expected files only" % _shown(member.name))
    return collector.files


def _read_zip(archive, limits):
    collector = Collector(limits)
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused("unsafe_entry", "%s is a link or a device, expected files only" % _shown(info.filename))
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
        self._folders = set()
        self._limits = limits
        self._entries = 0
        self._bytes = 0

    def folder(self, name):
        self._count()
        self._enter(self._safe(name))

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
        parts = self._safe(name)
        path = "/".join(parts)
        if path in self.files:
            raise Refused("unsafe_path", "%s stands in the archive twice" % path[:200])
        if path in self._folders:
            raise Refused("unsafe_path", "%s is both a file and a folder" % path[:200])
        self._enter(parts[:-1])
        self.files[path] = data

    def _enter(self, parts):
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder in self.files:
                raise Refused("unsafe_path", "%s is both a file and a folder" % folder[:200])
            self._folders.add(folder)

    def _count(self):
        self._entries += 1
        if self._entries > self._limits["unpackedFiles"]:
            most = self._limits["unpackedFiles"]
            raise Refused("too_many_files", "more than %d entries in the archive" % most)

    def _room(self, size):
        most = self._limits["unpackedBytes"]
        if size < 0:
            raise Refused("corrupt", "the archive is corrupt: an entry says that it has %d bytes" % size)
        if self._bytes + size > most:
            raise Refused("too_large", "the archive unpacks to more than %d bytes" % most)

    def _safe(self, name):
        shown = _shown(name)
        if _CONTROLS.search(name):
            raise Refused("unsafe_path", "%s has control characters in its name" % shown)
        if name.startswith(("/", "\\")) or "\\" in name or ":" in name.partition("/")[0]:
            raise Refused("unsafe_path", "%s is not a relative path" % shown)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Refused("unsafe_path", "%s leaves the archive" % shown)
        if len(parts) > self._limits["pathDepth"]:
            raise Refused("unsafe_path", "%s is nested more than %d deep" % (shown, self._limits["pathDepth"]))
        _check_lengths(parts, shown)
        return parts or ["."]


def _check_lengths(parts, shown):
    try:
        sizes = [len(part.encode("utf-8")) for part in parts]
    except UnicodeEncodeError:
        raise Refused("unsafe_path", "%s has a name that is not UTF-8" % shown) from None
    if max(sizes, default=0) > _MAX_COMPONENT_BYTES:
        raise Refused("unsafe_path", "%s has a name of more than %d bytes" % (shown, _MAX_COMPONENT_BYTES))
    if sum(sizes) + len(sizes) - 1 > _MAX_PATH_BYTES:
        raise Refused("unsafe_path", "%s is a path of more than %d bytes" % (shown, _MAX_PATH_BYTES))


def _shown(text):
    """Text of the archive's for a message, which may be printed on a terminal."""
    return text[:200] if text.isprintable() else ascii(text[:200])


def _strip_root(files):
    if _ENTRY in files:
        return _kept(files, "")
    roots = {path[: -len(_ENTRY)] for path in files if path.endswith("/" + _ENTRY)}
    if len(roots) == 1:
        return _kept(files, roots.pop())
    found = ", ".join(sorted(files)[:10]) or "nothing"
    if roots:
        message = "more than one folder holds code/function.py: %s" % ", ".join(sorted(roots)[:10])
    else:
        message = "code/function.py is missing; the archive holds: %s" % found
    raise Refused("missing_entry", message[:1_000])


def _kept(files, root):
    """The code, and the manifest beside it."""
    cut = {path[len(root) :]: data for path, data in files.items() if path.startswith(root)}
    return {path: data for path, data in cut.items() if path.startswith("code/") or path == _MANIFEST}


def _decode(files):
    texts = {}
    for path, data in files.items():
        try:
            texts[path] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused("not_text", "%s is not UTF-8 text (byte %d)" % (path[:200], error.start)) from None
    return texts
