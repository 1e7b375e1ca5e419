"""Looks at a policy's source without running it."""

import ast
import importlib.util
import sys

from . import loader

_PROBLEM_CHARS = 500


def inspect(files):
    """{"problems": […], "unresolved": […]} as plain values."""
    problems = []
    unresolved = []
    sources = loader.policy_files(files)
    if "function.py" not in sources:
        known = ", ".join(sorted(files)[:10]) or "nothing"
        problems.append(_problem("missing_entry", "code/function.py is missing; there is: %s" % known))
    finder = loader.BundleFinder()
    finder.files = sources
    for name, source in sources.items():
        tree = _parse(name, source, problems)
        if tree is None:
            continue
        if name == "function.py":
            _check_entry(tree, problems)
        unresolved.extend(_unresolved(tree, name, finder))
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
    rule = None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == loader.CLASS:
            rule = node
    if rule is None:
        if not _binds(tree, loader.CLASS):
            problems.append(_problem("missing_class", "the class %s is not defined" % loader.CLASS))
        return
    if rule.bases or any(_binds_in(node, "eval") for node in rule.body):
        return
    problem = _problem("missing_eval", "the class %s has no method eval" % loader.CLASS)
    problem["line"] = rule.lineno
    problems.append(problem)


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


def _unresolved(tree, file_name, finder):
    found = {}
    for node in ast.walk(tree):
        for module in _imported(node):
            if module not in found and not _resolves(module, finder):
                found[module] = {"module": module, "file": "code/" + file_name, "line": node.lineno}
    return sorted(found.values(), key=lambda item: item["line"])


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


def _resolves(module, finder):
    top = module.partition(".")[0]
    if finder.find_spec(top) is not None:
        return top == module or finder.find_spec(module) is not None
    if top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False
