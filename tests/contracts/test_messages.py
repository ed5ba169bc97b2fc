"""Options and commands that texts name in backticks exist, and where the text is read they help.

Anywhere in the package: `--option` is an option of some command, `COMMAND --option` one of that
command. In messages also: an option without its command is one of every command that can show the
message, which is every command that reaches the function or class the message stands in.
"""

import ast
import functools
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import click
import pytest

import yt8m_ensemble
from yt8m_ensemble.cli.root import cli

ROOT = Path(yt8m_ensemble.__file__).parent
Symbol = tuple[str, str]  # module, name at its top level


def commands_of(group: click.Group, parents: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Return every command that does something by its full name."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        names = (*parents, name)
        if isinstance(command, click.Group):
            found |= commands_of(command, names)
        else:
            found[" ".join(names)] = command
    return found


def options_of(command: click.Command) -> set[str]:
    """Return the spellings of a command's options."""
    parameters = command.get_params(click.Context(command))
    return {name for each in parameters for name in (*each.opts, *each.secondary_opts)}


COMMANDS = commands_of(cli)
GENERAL = options_of(cli)
OPTIONS = {name: options_of(command) | GENERAL for name, command in COMMANDS.items()}
SOURCES = {
    ".".join(("yt8m_ensemble", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path.read_text()
    for path in ROOT.rglob("*.py")
}

# These commands only write what they may replace.
NEVER_SHOWN = {("yt8m_ensemble.files", "check_absent"): {"eval", "train", "verify"}}


class Package:
    """The package's modules: what is defined at their top, and what refers to what."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        trees = {module: ast.parse(source) for module, source in sources.items()}
        self.definitions = {module: _definitions(tree) for module, tree in trees.items()}
        self.imports = {module: _imports(tree) for module, tree in trees.items()}

    @cached_property
    def commands_by_symbol(self) -> dict[Symbol, set[str]]:
        """Names of the commands that reach a function, class or constant."""
        found: dict[Symbol, set[str]] = {}
        references = functools.cache(lambda *symbol: tuple(self.references(*symbol)))
        for name, command in COMMANDS.items():
            assert command.callback
            function = inspect.unwrap(command.callback)
            todo = [(function.__module__, function.__name__)]
            while todo:
                symbol = todo.pop()
                commands = found.setdefault(symbol, set())
                if name not in commands:
                    commands.add(name)
                    todo += references(*symbol)
        return found

    def references(self, module: str, name: str) -> Iterator[Symbol]:
        """Yield what a definition refers to, its type hints left out."""
        node = self.definitions[module][name]
        parts = list(ast.walk(node))
        hints = [getattr(part, key, None) for part in parts for key in ("annotation", "returns")]
        skipped = {id(part) for hint in hints if hint for part in ast.walk(hint)}
        for part in parts:
            if id(part) in skipped:
                continue
            if isinstance(part, ast.Name) and (symbol := self._find(module, part.id)):
                yield symbol
            if (
                isinstance(part, ast.Attribute)
                and isinstance(part.value, ast.Name)
                and (owner := self._module(module, part.value.id))
                and (symbol := self._find(owner, part.attr))
            ):
                yield symbol

    def _find(self, module: str, name: str) -> Symbol | None:
        """Return where a name of a module is defined, through the packages that pass it on."""
        if name in self.definitions[module]:
            return module, name
        origin = self.imports[module].get(name)
        return self._find(*origin) if origin and not self._module(module, name) else None

    def _module(self, module: str, name: str) -> str | None:
        full = ".".join(self.imports[module].get(name, ()))
        return full if full in self.sources else None


PACKAGE = functools.cache(lambda: Package(SOURCES))


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith("yt8m_ensemble")
        for alias in node.names
    }


def _strings(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield each text, `{}` for what is filled in, and whether it is a docstring."""
    parts = list(ast.walk(node))
    docstrings = {
        id(part.body[0].value)
        for part in parts
        if isinstance(part, ast.Module | ast.FunctionDef | ast.ClassDef)
        and part.body
        and isinstance(part.body[0], ast.Expr)
    }
    inner = {id(v) for part in parts if isinstance(part, ast.JoinedStr) for v in part.values}
    for part in parts:
        if isinstance(part, ast.JoinedStr):
            pieces = [v.value if isinstance(v, ast.Constant) else "{}" for v in part.values]
            yield "".join(map(str, pieces)), False
        elif (
            isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in inner
        ):
            yield part.value, id(part) in docstrings


def _quotes(text: str) -> list[str]:
    return [" ".join(quote.split()) for quote in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def _split(quote: str) -> tuple[str, list[str]]:
    """Return the command that a quoted text begins with, if any, and the options it names."""
    words = quote.removeprefix("yt8m-ens ").split()
    names = [" ".join(words[:count]) for count in (2, 1)]
    known = {*COMMANDS, *(name.partition(" ")[0] for name in COMMANDS)}
    return next((n for n in names if n in known), ""), re.findall(r"(?<!\S)--[a-z][\w-]*", quote)


def _lacking(option: str, commands: set[str]) -> list[str]:
    return sorted(command for command in commands if option not in OPTIONS[command])


def find_unknown(sources: dict[str, str]) -> list[str]:
    """Return what strings and comments name that is not there."""
    faults = []
    for module, source in sources.items():
        texts = [text for text, _ in _strings(ast.parse(source))]
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
        for quote in _quotes(" ".join(comments)) + [q for text in texts for q in _quotes(text)]:
            command, options = _split(quote)
            if quote.startswith("yt8m-ens ") and not (command or quote.startswith("yt8m-ens -")):
                faults.append(f"{module}: `{quote}` is no command")
            under = {name for name in COMMANDS if f"{name} ".startswith(f"{command} ")}
            known = GENERAL.union(*(OPTIONS[name] for name in under or COMMANDS))
            faults += [f"{module}: `{quote}`, no '{o}'" for o in options if o not in known]
    return faults


def find_misplaced(package: Package) -> list[str]:
    """Return the options in messages that a command lacks under which the message can be shown."""
    faults = []
    for (module, name), reached_by in package.commands_by_symbol.items():
        # A recipe's tables take the options of all commands.
        commands = (reached_by - {"run"} or reached_by) - NEVER_SHOWN.get((module, name), set())
        for text, is_docstring in _strings(package.definitions[module][name]):
            # A command's docstring is its help.
            is_shown = not is_docstring or module.startswith("yt8m_ensemble.cli.")
            for quote in _quotes(text) * is_shown:
                command, options = _split(quote)
                faults += [
                    f"{module}.{name}: `{quote}` under {', '.join(lacking)}"
                    for option in options
                    if not command and (lacking := _lacking(option, commands))
                ]
    return faults


def test_every_option_and_command_in_backticks_exists():
    assert find_unknown(SOURCES) == []


def test_advice_names_options_of_the_command_it_is_given_under():
    assert find_misplaced(PACKAGE()) == []


@pytest.mark.tf
def test_options_whose_name_is_filled_in_exist():
    from yt8m_ensemble.graphs import meta_files

    filled = {
        module
        for module, source in SOURCES.items()
        for text, _ in _strings(ast.parse(source))
        if any("--{}" in quote or "merge {}" in quote for quote in _quotes(text))
    }
    assert filled == {"yt8m_ensemble.graphs.meta_files"}
    assert {f"--{name}" for name in meta_files.OPTIONS.values()} <= OPTIONS["merge"]


def test_every_step_is_reached_by_a_command():
    reached = {module for module, _ in PACKAGE().commands_by_symbol}
    steps = {module for module in SOURCES if module.startswith("yt8m_ensemble.steps.")}
    assert len(steps) > 10
    assert steps <= reached


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('"Pass `--nonsense`."', "no '--nonsense'"),
        ("# as `--nonsense 3` does", "no '--nonsense'"),
        ('"Run `yt8m-ens train --member x`."', "no '--member'"),
        ('f"Run `yt8m-ens train {1} --member`."', "no '--member'"),
        ('"Run `yt8m-ens mergge`."', "is no command"),
        ('"as `convert\\nfeatures --member` does"', "no '--member'"),
    ],
)
def test_the_guard_sees_what_does_not_exist(text, fault):
    (found,) = find_unknown({"yt8m_ensemble.x": f"x = 1\n{text}\n"})
    assert fault in found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "old", "new", "commands"),
    [
        ("options.bundle", "Give the records", "Give the `--member`, the records", "verify"),
        (
            "storage.reader",
            "There is no",
            "Set `--out`; there is no",
            "blend, compare, convert scores, eval",
        ),
        ("recipe.run", "Pass `--force`", "Pass `--folds`", "run"),
        ("options.bundle", "Records to score.", "Records; see `--folds`.", "verify"),
        ("cli.select", '    """Choose', '    """As `--folds` says, choose', "select"),
    ],
)
def test_the_guard_sees_advice_that_a_command_does_not_take(module, old, new, commands):
    module = f"yt8m_ensemble.{module}"
    assert old in SOURCES[module]
    changed = {**SOURCES, module: SOURCES[module].replace(old, new, 1)}
    (found,) = find_misplaced(Package(changed))
    assert f"under {commands}" in found
