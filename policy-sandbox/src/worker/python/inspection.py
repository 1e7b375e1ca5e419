"""Looks at a policy's source without running it."""

import ast
import importlib.util
import sys

from . import loader

_PROBLEM_CHARS = 500


class Bundle:
    """The policy's files: what they find with an import, and what their packages define."""

    def __init__(self, sources, trees):
        self._finder = loader.BundleFinder()
        self._finder.files = sources
        self._trees = trees

    def has(self, module):
        return self._finder.find_spec(module) is not None

    def package_has(self, package, name, node):
        """Whether this `from package import name` finds a module or something that the package binds elsewhere."""
        if name == "*" or self.has("%s.%s" % (package, name)):
            return True
        tree = self._trees.get(package.replace(".", "/") + "/__init__.py")
        return tree is not None and any(_binds_in(one, name) for one in ast.walk(tree) if one is not node)


def inspect(files):
    """{"problems": […], "unresolved": […]} as plain values."""
    problems = []
    unresolved = []
    sources = loader.policy_files(files)
    if "function.py" not in sources:
        known = ", ".join(sorted(files)[:10]) or "nothing"
        problems.append(_problem("missing_entry", "code/function.py is missing; there is: %s" % known))
    trees = {name: _parse(name, source, problems) for name, source in sources.items()}
    bundle = Bundle(sources, trees)
    for name, tree in trees.items():
        if tree is None:
            continue
        if name == "function.py":
            _check_entry(tree, problems)
        unresolved.extend(_unresolved(tree, name, bundle))
    return {"problems": problems, "unresolved": unresolved}


def _parse(name, source, problems):
    try:
        tree = ast.parse(source, filename=name)
        compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        problem = _problem("syntax_error", error.msg, name)
        problem["line"] = error.lineno
        problem["column"] = error.offset
        problem["text"] = None if error.text is None else error.text.rstrip("\n")[:_PROBLEM_CHARS]
        problems.append(problem)
    except (ValueError, RecursionError, MemoryError) as error:
        problems.append(_problem("syntax_error", "cannot be compiled: %s" % error, name))
    else:
        return tree
    return None


def _problem(code, message, file="function.py"):
    return {
        "code": code,
        "message": message[:_PROBLEM_CHARS],
        "file": "code/" + file,
        "line": None,
        "column": None,
        "text": None,
    }


def _check_entry(tree, problems):
    """A class made some other way than by `class` (imported, assigned) is left to the load itself."""
    rules = [_rule(tree, name) for name in loader.CLASSES if _binds(tree, name)]
    if not rules:
        problems.append(_problem("missing_class", "the class %s or %s is not defined" % loader.CLASSES))
        return
    # Of both classes the first one is what is loaded.
    rule = rules[0]
    if rule is None or rule.bases or any(_binds_in(node, "eval") for node in rule.body):
        return
    problem = _problem("missing_eval", "the class %s has no method eval" % rule.name)
    problem["line"] = rule.lineno
    problems.append(problem)


def _rule(tree, name):
    """The last class of this name; None when it is made some other way."""
    rule = None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            rule = node
    return rule


def _binds(tree, name):
    return any(_binds_in(node, name) for node in ast.walk(tree))


def _binds_in(node, name):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == name
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return any(alias.name == "*" or (alias.asname or alias.name) == name for alias in node.names)
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return False


def _unresolved(tree, file_name, bundle):
    found = {}
    for node in ast.walk(tree):
        for module in _missing(node, file_name, bundle):
            if module not in found:
                found[module] = {"module": module, "file": "code/" + file_name, "line": node.lineno}
    return sorted(found.values(), key=lambda item: item["line"])


def _missing(node, file_name, bundle):
    """What an import names and does not find; of a relative one as it is written (".helper")."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if not _resolves(alias.name, bundle)]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level > 0:
        return _missing_relative(node, file_name, bundle)
    return [node.module] if node.module and not _resolves(node.module, bundle) else []


def _missing_relative(node, file_name, bundle):
    dots = "." * node.level
    # One dot is the package that the file is in; the files beside function.py are in none.
    parts = file_name.split("/")[: -node.level]
    package = ".".join(parts)
    known = len(parts) > 0 and bundle.has(package)
    if node.module is not None:
        return [] if known and bundle.has("%s.%s" % (package, node.module)) else [dots + node.module]
    names = [alias.name for alias in node.names]
    return [dots + name for name in names if not (known and bundle.package_has(package, name, node))]


def _resolves(module, bundle):
    top = module.partition(".")[0]
    if bundle.has(top):
        return top == module or bundle.has(module)
    if top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False
