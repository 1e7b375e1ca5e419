"""Loads policies. Every loaded instance has modules, environment and logging set-up of its own."""

import collections
import gc
import importlib
import importlib.machinery
import linecache
import logging
import os
import stat
import sys

from . import capabilities

ENTRY = "function"
CLASS = "AIOSv1PolicyRule"
# Modules of workflows were written with this one.
WORKFLOW_CLASS = "AgentSpaceV1PolicyRule"
CLASSES = (CLASS, WORKFLOW_CLASS)
CODE_ROOT = "code/"
_CODE_FOLDER = "/code"
MAX_INSTANCES = 8
_RESERVED = frozenset((*sys.stdlib_module_names, "requests", "_berth"))


class ActivationFailed(Exception):
    """The interpreter holds parts of two policies: nothing may run in it any more."""


class SourceLoader:
    """Runs one file of the policy; its file name in tracebacks is the path below `code/`."""

    def __init__(self, source, file_name):
        self._source = source
        self.file_name = file_name

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__file__ = "/code/" + self.file_name
        code = compile(self._source, self.file_name, "exec", dont_inherit=True)
        exec(code, module.__dict__)

    def get_source(self, name):
        return self._source

    def is_package(self, name):
        return self.file_name.endswith("__init__.py")


class BundleFinder:
    """Finds the files of the active policy. The standard library is never shadowed."""

    def __init__(self):
        self.files = {}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in _RESERVED:
            return None
        base = name.replace(".", "/")
        for file_name in (base + "/__init__.py", base + ".py"):
            if file_name in self.files:
                return self._spec(name, file_name)
        if any(known.startswith(base + "/") for known in self.files):
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        return None

    def _spec(self, name, file_name):
        loader = SourceLoader(self.files[file_name], file_name)
        package = loader.is_package(name)
        spec = importlib.machinery.ModuleSpec(name, loader, origin=file_name, is_package=package)
        if package:
            spec.submodule_search_locations = []
        return spec


class Instance:
    """One policy object and everything that lives as long as it does."""

    def __init__(self, files, environment):
        self.files = policy_files(files)
        self.data_files = {
            path: text
            for path, text in files.items()
            if path.startswith(CODE_ROOT) and not path.endswith(".py")
        }
        self.environment = environment
        self.modules = {}
        self.log_handlers = []
        self.log_level = logging.WARNING
        self.parameters = None
        self.policy = None


def policy_files(files):
    """{"code/helpers.py": text} -> {"helpers.py": text}, Python files only."""
    return {
        path[len(CODE_ROOT) :]: text.removeprefix("\ufeff")
        for path, text in files.items()
        if path.startswith(CODE_ROOT) and path.endswith(".py")
    }


class Loader:
    def __init__(self, uses_more_than):
        self._uses_more_than = uses_more_than  # whether more bytes of the heap are in use
        self._instances = collections.OrderedDict()
        self._finder = BundleFinder()
        self._active = None
        self.is_fresh = True  # nothing was loaded yet, or all of it was dropped
        sys.meta_path.insert(0, self._finder)

    def keys(self):
        return list(self._instances)

    def get(self, key):
        instance = self._instances.get(key)
        if instance is not None:
            self._instances.move_to_end(key)
            self._activate(instance)
        return instance

    def load(self, key, source):
        """`source` holds files, settings, parameters, the description of the clients and the environment."""
        self.is_fresh = False
        instance = Instance(source["files"], source["environment"])
        self._activate(instance)
        settings = source["settings"]
        for name, description in source["clients"].items():
            settings[name] = capabilities.make(name, description)
        instance.parameters = source["parameters"]
        instance.policy = _construct(importlib.import_module(ENTRY), settings, instance.parameters)
        self._instances[key] = instance
        while len(self._instances) > MAX_INSTANCES:
            self._instances.popitem(last=False)
        return instance

    def drop(self, key):
        self._instances.pop(key, None)

    def make_room(self, key, shared_bytes):
        """Drops all instances but this one when more than these bytes are in use.

        Not only the oldest: several that do not fit beside each other would take turns in dropping each other.
        """
        others = self._instances.keys() - {key}
        if (others or key not in self._instances) and self._uses_more_than(shared_bytes):
            for other in others:
                self._instances.pop(other)
            self._leave(key)
            gc.collect()

    def drop_all(self):
        """Drops every instance and what an attempt that failed has left behind."""
        self._instances.clear()
        self._leave(None)
        self.is_fresh = True
        gc.collect()

    def _leave(self, key):
        """Takes the active instance out of its place unless it is this one."""
        if self._active is None or self._active is self._instances.get(key):
            return
        _take_modules(self._active)
        self._active = None
        logging.root.handlers[:] = []

    def active_files(self):
        return self._finder.files

    def suspend(self):
        """Keeps what the evaluation changed with its instance."""
        if self._active is not None:
            self._active.log_handlers = list(logging.root.handlers)
            self._active.log_level = logging.root.level

    def _activate(self, instance):
        if instance is self._active:
            return
        try:
            self._switch_to(instance)
        except BaseException as error:  # an interrupt, too, leaves it half done
            text = "%s: %s" % (type(error).__name__, error)
            raise ActivationFailed("the policy could not be put in place: %s" % text[:500]) from None

    def _switch_to(self, instance):
        if self._active is not None:
            self._active.modules = _take_modules(self._active)
        _replace_data_files(instance.data_files)
        self._active = instance
        self._finder.files = instance.files
        linecache.clearcache()
        sys.modules.update(instance.modules)
        logging.root.handlers[:] = instance.log_handlers
        logging.root.setLevel(instance.log_level)
        os.environ.clear()
        os.environ.update(instance.environment)


def _construct(module, settings, parameters):
    """The policy object. A module that defines both classes is an ordinary policy.

    A workflow's class also gets `settings["globalSettings"]`, `parameters["globalParameters"]` and a dict of its own.
    """
    rule = getattr(module, CLASS, None)
    if rule is not None:
        return rule("", settings, parameters)
    rule = getattr(module, WORKFLOW_CLASS, None)
    if rule is None:
        raise AttributeError("function.py does not define the class %s or %s" % CLASSES)
    global_settings = settings.get("globalSettings", {})
    global_parameters = parameters.get("globalParameters", {}) if isinstance(parameters, dict) else {}
    return rule("", settings, parameters, global_settings, global_parameters, {})


def _take_modules(instance):
    tops = {name.partition("/")[0].removesuffix(".py") for name in instance.files} - _RESERVED
    names = [name for name in sys.modules if name.partition(".")[0] in tops]
    return {name: sys.modules.pop(name) for name in names}


def _replace_data_files(files):
    """Puts what is not Python below /code, where `__file__` points, and nothing else stays there."""
    os.chmod("/", 0o777)  # the policy before may have closed it
    if "code" in os.listdir("/"):
        _remove_tree(_CODE_FOLDER)
    for path, text in files.items():
        os.makedirs(os.path.dirname("/" + path), exist_ok=True)
        with open("/" + path, "w", encoding="utf-8", newline="") as file:
            file.write(text)


def _remove_tree(root):
    """Removes whatever stands there, of any mode and any depth, without following links."""
    folders = []
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chmod(path, 0o700)
            folders.append(path)
            waiting.extend(path + "/" + name for name in os.listdir(path))
        else:
            os.unlink(path)
    for path in reversed(folders):
        os.rmdir(path)
