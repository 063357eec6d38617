"""Cluster configs, from Python or TOML, checked before anything is changed.

Every error is a `ConfigError` that names the place: `vats.branch.source: no such file`.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from attrs import asdict, evolve, field, fields, frozen

from ocap.kernel.bodies import find_promise
from ocap.kernel.options import FAULT_LIMIT, FaultPolicy
from ocap.protocol.errors import ConfigError, NotPassableError
from ocap.protocol.marshal import encode
from ocap.reasons import reason as os_reason
from vats.ambient import ANYTHING


@frozen
class VatConfig:
    """One vat.

    Attributes:
        source: a Python file, or a dotted module path.
        parameters: what `build_root_object` gets; anything passable except promises.
        critical: whether its death, unless the host program asked for it, stops the kernel.
        on_fault: what becomes of the vat after `fault_limit` faults: "suspend" (its messages are held until
            it is resumed), "terminate", or "panic" (the kernel stops). One that does not start again is
            suspended rather than terminated.
        fault_limit: faults it may have between two reaps.
        imports: modules its code may import beside the pure ones of the standard library and `vats`; None: no
            others; `["*"]`: any. A package stands for all that is in it.
        reap_after: deliveries after which it is asked what it no longer holds; 0: never; None: as the kernel says.
        endowments: names of services it is given itself, as `vat_powers.endowments`.
    """

    source: str
    parameters: Mapping[str, Any] = field(factory=dict)
    critical: bool = False
    on_fault: FaultPolicy = "suspend"
    fault_limit: int = FAULT_LIMIT
    imports: Sequence[str] | None = None
    reap_after: int | None = None
    endowments: Sequence[str] = ()


@frozen
class ClusterConfig:
    """One subcluster.

    Attributes:
        bootstrap: the name of the vat whose root's `bootstrap(vats, services)` is called once.
        vats: by name.
        services: names of kernel services that bootstrap gets.
        name: what the subcluster is called, in lists and in `ocap run`'s results.
    """

    bootstrap: str
    vats: Mapping[str, VatConfig]
    services: Sequence[str] = ()
    name: str = ""


_VAT_KEYS = {it.name for it in fields(VatConfig)}
_CLUSTER_KEYS = {"bootstrap", "vats", "services"}

MAX_FILE = 16_777_216
"""Bytes of a file that describes subclusters: a device would be read without end."""

NO_SUBCLUSTERS = ("subclusters", "at least one [subclusters.NAME] is needed")
"""Where and what is wrong with a file that has none."""


@frozen
class Described:
    """What a file or text in TOML describes, each by name.

    Attributes:
        subclusters: the tables `[subclusters.NAME]`.
        system: the tables `[system.NAME]`: system subclusters.
        services: the tables `[services.NAME]`: options of what is provided.
    """

    subclusters: Mapping[str, ClusterConfig] = field(factory=dict)
    system: Mapping[str, ClusterConfig] = field(factory=dict)
    services: Mapping[str, Mapping[str, Any]] = field(factory=dict)


def load_toml(path: str | os.PathLike[str]) -> dict[str, ClusterConfig]:
    """The subclusters of a TOML file, by name. Relative sources are relative to the file.

    Raises:
        ConfigError: the file cannot be read, is no TOML (with line and column), or has a key or
            value that does not belong; the message starts with the file's name.
    """
    found = load_described(path)
    if not found.subclusters:
        raise ConfigError(str(path), str(ConfigError(*NO_SUBCLUSTERS)))
    return dict(found.subclusters)


def load_described(path: str | os.PathLike[str]) -> Described:
    """All that a TOML file describes. Raises as `load_toml` does."""
    return parse_toml(read_toml(path), Path(path).parent, str(path))


def read_toml(path: str | os.PathLike[str]) -> str:
    """The text of a file that describes subclusters.

    Raises:
        ConfigError: it cannot be read, is no text, or has more than `MAX_FILE` bytes, as a device has.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(str(path), os_reason(error)) from error
    if len(text) > MAX_FILE:
        raise ConfigError(str(path), f"longer than {MAX_FILE:,} bytes: this describes no subclusters")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"not UTF-8 text: {error.reason} at byte {error.start}") from error


def parse_toml(text: str, folder: str | os.PathLike[str], name: str) -> Described:
    """What a text in TOML describes.

    Args:
        text: as the file of `load_toml`.
        folder: what relative sources are relative to.
        name: what errors call the text.

    Raises:
        ConfigError: as `load_toml`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, f"not valid TOML: {error}") from error
    try:
        return _described(document, Path(folder))
    except ConfigError as error:
        raise ConfigError(name, str(error)) from None


def _described(document: dict[str, Any], folder: Path) -> Described:
    _only(document, {"subclusters", "system", "services"}, "")
    subclusters, system = (
        {
            name: config_from_table(table, name, folder, where=f"{kind}.{name}.")
            for name, table in _table(document.get(kind, {}), kind).items()
        }
        for kind in ("subclusters", "system")
    )
    for name in subclusters.keys() & system.keys():
        raise ConfigError(f"system.{name}", f"there is a [subclusters.{name}] too; each needs a name of its own")
    tables = _table(document.get("services", {}), "services")
    services = {name: _table(options, f"services.{name}") for name, options in tables.items()}
    if not (subclusters or system or services):
        raise ConfigError(*NO_SUBCLUSTERS)
    return Described(subclusters, system, services)


def config_from_table(value: Any, name: str, folder: Path, *, where: str = "") -> ClusterConfig:
    """A config from a table as TOML has it.

    Args:
        value: with the keys of `[subclusters.NAME]`, which are those of `[system.NAME]` too.
        name: of the subcluster.
        folder: what relative sources are relative to.
        where: what paths in errors begin with.

    Raises:
        ConfigError: a key or value that does not belong.
    """
    table = _table(value, where.removesuffix("."))
    _only(table, _CLUSTER_KEYS, where.removesuffix("."))
    vats = {
        vat: _vat(entry, f"{where}vats.{vat}", folder)
        for vat, entry in _table(table.get("vats"), f"{where}vats").items()
    }
    services = table.get("services", [])
    if not isinstance(services, list) or not all(isinstance(service, str) for service in services):
        raise ConfigError(f"{where}services", "must be a list of service names")
    bootstrap = table.get("bootstrap")
    if not isinstance(bootstrap, str):
        raise ConfigError(f"{where}bootstrap", "must name one of the vats")
    return ClusterConfig(bootstrap, vats, services, name)


def _vat(value: Any, where: str, folder: Path) -> VatConfig:
    table = _table(value, where)
    _only(table, _VAT_KEYS, where)
    source = table.get("source")
    if not isinstance(source, str):
        raise ConfigError(f"{where}.source", "must be a Python file or a dotted module path")
    if is_file_source(source):
        source = str((folder / source).absolute())
    parameters = _table(table.get("parameters", {}), f"{where}.parameters")
    return VatConfig(**{**table, "source": source, "parameters": parameters})


def _table(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        raise ConfigError(where, "is missing")
    if not isinstance(value, dict):
        raise ConfigError(where, f"must be a table, not {type(value).__name__}")
    return value


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            place = f"{where}.{key}" if where else key
            raise ConfigError(place, f"unknown key; known here: {', '.join(sorted(known))}")


def is_file_source(source: str) -> bool:
    """Whether `source` names a file, rather than a module by its dotted path."""
    return source.endswith(".py") or os.sep in source


def services_of(config: ClusterConfig) -> set[str]:
    """The names of all services that a subcluster asks for."""
    return {name for names in (config.services, *(vat.endowments for vat in config.vats.values())) for name in names}


def check_config(config: ClusterConfig, services: Collection[str]) -> ClusterConfig:
    """A config that can be launched: sources found and made absolute, names known, values passable.

    Args:
        config: as the host program gave it.
        services: the names of what the kernel provides.

    Raises:
        ConfigError: with the path to what is wrong.
    """
    _is(config, ClusterConfig, "")
    _is(config.name, str, "name")
    _is(config.vats, Mapping, "vats")
    if not config.vats:
        raise ConfigError("vats", "at least one vat is needed")
    for name, vat in config.vats.items():
        _is(name, str, f"vats.{name!r}")
        _is(vat, VatConfig, f"vats.{name}")
    if config.bootstrap not in config.vats:
        raise ConfigError("bootstrap", f"there is no vat {config.bootstrap!r}; there are: {', '.join(config.vats)}")
    _check_services(config.services, services, "services")
    checked = {name: _check_vat(vat, f"vats.{name}", services) for name, vat in config.vats.items()}
    return ClusterConfig(config.bootstrap, checked, tuple(config.services), config.name)


def check_tables(
    kind: str, configs: Mapping[str, ClusterConfig], services: Collection[str]
) -> dict[str, ClusterConfig]:
    """The same of the tables `[KIND.NAME]`, by name."""
    checked = {}
    for name, config in configs.items():
        try:
            checked[name] = check_config(config, services)
        except ConfigError as error:
            raise ConfigError(f"{kind}.{name}.{error.path}", error.reason) from None
    return checked


def _is(value: Any, kind: type[Any], where: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(where, f"expected a {kind.__name__}, not {type(value).__name__}")


def _check_services(names: Any, services: Collection[str], where: str) -> None:
    for service in _check_names(names, where):
        if service not in services:
            known = ", ".join(sorted(services)) or "none"
            raise ConfigError(where, f"there is no service {service!r}; provided here: {known}")


def _check_names(names: Any, where: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(where, "expected several names, not one str")
    _is(names, Sequence, where)
    for name in names:
        _is(name, str, where)
    return tuple(names)


def _check_imports(names: Any, where: str) -> tuple[str, ...]:
    for name in _check_names(names, where):
        if name != ANYTHING and not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(where, f"{name!r} is no module; write its dotted path, or '*' for any")
    return tuple(names)


def _check_vat(vat: VatConfig, where: str, services: Collection[str]) -> VatConfig:
    _is(vat.source, str, f"{where}.source")
    _is(vat.critical, bool, f"{where}.critical")
    if vat.on_fault not in get_args(FaultPolicy):
        raise ConfigError(f"{where}.on_fault", f"is 'suspend', 'terminate' or 'panic', not {vat.on_fault!r}")
    _is(vat.fault_limit, int, f"{where}.fault_limit")
    if vat.fault_limit < 1:
        raise ConfigError(f"{where}.fault_limit", f"must be at least 1, not {vat.fault_limit}")
    if vat.reap_after is not None:
        _is(vat.reap_after, int, f"{where}.reap_after")
        if vat.reap_after < 0:
            raise ConfigError(f"{where}.reap_after", f"is a number of deliveries, or 0 for never, not {vat.reap_after}")
    _check_services(vat.endowments, services, f"{where}.endowments")
    return evolve(
        vat,
        source=check_source(vat.source, f"{where}.source"),
        parameters=check_parameters(vat.parameters, f"{where}.parameters"),
        imports=None if vat.imports is None else _check_imports(vat.imports, f"{where}.imports"),
        endowments=tuple(vat.endowments),
    )


def check_parameters(parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Parameters that can be kept with a vat.

    Raises:
        ConfigError: they are no mapping, or cannot pass, or have a promise in them; with its path.
    """
    _is(parameters, Mapping, where)
    made = dict(parameters)
    try:
        encode(made)
    except NotPassableError as error:
        raise ConfigError(f"{where}{error.path}", error.reason) from None
    place = find_promise(made, where)
    if place is not None:
        raise ConfigError(place, "a promise cannot be kept in parameters; await it, and pass what it settles to")
    return made


def check_source(source: str, where: str) -> str:
    """The source, as it will be stored: a file's absolute path, or the module path.

    Raises:
        ConfigError: there is no such Python file, or it does not compile.
    """
    path = Path(source).absolute() if is_file_source(source) else _find_module(source, where)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(where, f"{source}: {os_reason(error)}") from error
    if path.suffix != ".py":
        raise ConfigError(where, f"{source}: must be a Python file, its name ending in .py, or a dotted module path")
    try:
        ast.parse(text, str(path))
    except SyntaxError as error:
        place = f"{path}:{error.lineno}" if error.lineno else path
        raise ConfigError(where, f"{place}: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(where, f"{path}: {error}") from None
    return str(path) if is_file_source(source) else source


def _find_module(name: str, where: str) -> Path:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(where, f"no module {name}: {error}") from error
    if spec is None or not spec.has_location or spec.origin is None:
        raise ConfigError(where, f"no module {name} that is a Python file")
    return Path(spec.origin)


def config_to_data(config: ClusterConfig) -> dict[str, Any]:
    """A config as plain data, to be stored."""
    # Not deeper: values in parameters stay what they are.
    vats = {name: asdict(vat, recurse=False) for name, vat in config.vats.items()}
    return {**asdict(config, recurse=False), "vats": vats}


def config_from_data(data: dict[str, Any]) -> ClusterConfig:
    """The inverse of `config_to_data`."""
    vats = {name: VatConfig(**vat) for name, vat in data["vats"].items()}
    return ClusterConfig(data["bootstrap"], vats, tuple(data["services"]), data["name"])
