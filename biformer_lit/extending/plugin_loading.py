"""Load a plug-in: run a file or import a module of the user's, and note what it registers."""

import importlib
import importlib.util
import os
import sys
import traceback
import warnings
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from biformer_lit.errors import BiFormerLitError, ConfigError
from biformer_lit.extending.plugin_source import Plugin, digest_of, source_files
from biformer_lit.registry import Registry, registering_for

_plugins: dict[str, Plugin] = {}


def loaded_plugins() -> dict[str, Plugin]:
    """Plug-ins that were loaded in this process, by name."""
    return dict(_plugins)


def given_plugins() -> list[Plugin]:
    """Plug-ins that were loaded by ``--plugin`` or :func:`load_plugin`, in that order; without the installed ones."""
    return [plugin for plugin in _plugins.values() if plugin.distribution is None]


def current_digest(plugin: Plugin) -> str:
    """Digest of a loaded plug-in's source as its files are now."""
    if plugin.argument.endswith(".py"):
        files = {Path(plugin.argument).name: Path(plugin.argument).read_bytes()}
    else:
        files = source_files(sys.modules[plugin.name])
    return digest_of(files)


def load_plugin(plugin: str | Path) -> Plugin:
    """Run a file or import a module that registers ideas of its own; one that was loaded already stays as it is.

    Args:
        plugin: A Python file, or a module's import path. A file becomes the module of its name, ``my_pattern`` for
            ``ideas/my_pattern.py``, and stands alone: other files of its folder are not made importable. Several files
            are a package, given by its import path.

    Raises:
        ConfigError: If it is not there, cannot be run, or registers a name that is taken. Nothing of it stays
            registered then.
    """
    text = str(plugin)
    path = Path(text)
    if path.suffix == ".py" or path.is_file() or not {"/", os.sep}.isdisjoint(text):
        return _load_file(path)
    return load_module(text)


def load_module(name: str, distribution: str | None = None) -> Plugin:
    """Import a module as a plug-in.

    Args:
        name: Its import path.
        distribution: Name and version of the installed package that asked for it; None if a person did.

    Raises:
        ConfigError: As for :func:`load_plugin`.
    """
    if name in _plugins:
        return _plugins[name]
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"plug-in {name}: is neither a Python file nor the import path of a module; give one of them")
    _import_own_names()
    counted = Registry.count()
    try:
        with registering_for(name):
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"plug-in {name}: there is no module {error.name}{_where_it_lies(name)}") from None
        raise ConfigError(f"plug-in {name}: {_in_one_line(error, _folder_of(name))}") from error
    files = source_files(module)
    loaded = Plugin(name, distribution or name, files, digest_of(files), distribution)
    return _note(loaded, registered=Registry.count() - counted)


class _NotedSource(SourceFileLoader):
    """Runs the source whose digest was taken, whatever has become of the file, and no cached bytecode."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source."""
        code: CodeType = self.source_to_code(self._source, self.path)
        return code


def _load_file(path: Path) -> Plugin:
    name = path.stem
    place = path.resolve()
    known = _plugins.get(name)
    source = _read(path)
    if known is not None and known.argument == str(place):
        if known.digest != digest_of({place.name: source}):
            raise ConfigError(f"plug-in {path}: has changed since it was loaded; restart Python to load it again")
        return known
    _check_name(path, name)
    _import_own_names()
    counted = Registry.count()
    if name not in sys.modules:
        try:
            with registering_for(name):
                _run(name, place, source)
        except (Exception, SystemExit) as error:
            sys.modules.pop(name, None)
            raise ConfigError(f"plug-in {path}: {_in_one_line(error, place)}") from error
    files = {place.name: source}
    return _note(Plugin(name, str(place), files, digest_of(files)), registered=Registry.count() - counted)


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ConfigError(f"plug-in {path}: is a folder; give a .py file, or a package by its import path")
    if path.suffix != ".py":
        raise ConfigError(f"plug-in {path}: is not a Python file; give a .py file or the import path of a module")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"plug-in {path}: {error.strerror}; check the path") from None


def _check_name(path: Path, name: str) -> None:
    """Refuse a file whose name as a module is another module's, or none.

    Raises:
        ConfigError: With what to do.
    """
    if not name.isidentifier():
        raise ConfigError(f"plug-in {path}: {name!r} cannot be the name of a module; use letters, digits and _")
    place = path.resolve()
    module = sys.modules.get(name)
    spec = _found(name) if module is None else module.__spec__
    file = getattr(module, "__file__", None) or (spec.origin if spec is not None else None)
    if module is None and (spec is None or (spec.origin is None and spec.submodule_search_locations is not None)):
        return  # a mere folder of this name gives way to a file everywhere
    if file is not None and Path(file).resolve() == place:
        return
    raise ConfigError(
        f"plug-in {path}: {name} is the name of another module ({file or 'built into Python'}); rename the file"
    )


def _found(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _run(name: str, place: Path, source: bytes) -> ModuleType:
    loader = _NotedSource(name, str(place), source)
    spec = importlib.util.spec_from_file_location(name, place, loader=loader)
    if spec is None:
        raise ConfigError("cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _note(plugin: Plugin, registered: int) -> Plugin:
    _plugins[plugin.name] = plugin
    if not registered:
        warnings.warn(
            f"plug-in {plugin.label}: registers nothing; it should call register_attention or another of the "
            "registration functions when it is imported",
            stacklevel=4,
        )
    return plugin


def _import_own_names() -> None:
    """Import what registers this package's own names, or they would be taken for the plug-in's."""
    importlib.import_module("biformer_lit.shipped_kinds")


def _folder_of(name: str) -> Path | None:
    """Folder of a package, or the file of a module that is in none."""
    spec = _found(name.partition(".")[0])
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path.parent if path.name == "__init__.py" else path


def _where_it_lies(name: str) -> str:
    """Return what to do about a module that was not found."""
    first = name.partition(".")[0]
    if Path(f"{name}.py").is_file():
        return f"; a file is given with its suffix: {name}.py"
    if Path(first).is_dir() or Path(f"{first}.py").is_file():
        return (
            f"; {first} lies in the working folder, where this program does not look for modules: use python -m "
            "biformer_lit, or install it"
        )
    return "; check its name, and that it is installed"


def _in_one_line(error: BaseException, place: Path | None) -> str:
    """Return where in a plug-in's source an error was raised, and the error."""
    said = str(error) if isinstance(error, BiFormerLitError) else f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, SyntaxError):
        said = f"not Python ({error.msg})"
    if isinstance(error, ModuleNotFoundError) and place is not None and place.suffix == ".py":
        said += "; a plug-in file stands alone: several files make a package, which is given by its import path"
    lines = [
        (Path(frame.filename).resolve(), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if place is not None and Path(frame.filename).resolve().is_relative_to(place)
    ]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        lines.append((Path(error.filename), error.lineno))
    if not lines:
        return said
    file, line = lines[-1]
    within = "" if file == place else f"{file.name}, "
    return f"{within}line {line}: {' '.join(said.split())}"
