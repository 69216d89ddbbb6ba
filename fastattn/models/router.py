"""Router: what sentence-transformers does with queries, and what with documents.

It was called Asym before, and its settings stood in another file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .checkpoint import Settings
from .module_list import MOST_MODULES, Listed, listed_as
from .saving import Writer, json_file

QUERY, DOCUMENT = "query", "document"

# The file of its settings, and that of older versions.
FILES = ("router_config.json", "config.json")

PARAMETERS = ("default_route", "allow_empty_key", "route_mappings")


@dataclass(frozen=True)
class Routes:
    """The modules of queries and of documents.

    Attributes
    ----------
    structure : Settings
        The object that lists them, for errors.
    query, document : tuple of Listed
        The modules, which are equal where they are shared.
    default : str or None
        What a text is that nobody calls the one or the other.
    """

    structure: Settings
    query: tuple[Listed, ...]
    document: tuple[Listed, ...]
    default: str | None


def read_router(router: Listed) -> Routes:
    """Read the settings of a Router; two routes are read, those of texts."""
    folder = router.folder
    settings = Settings.read(folder, next(filter(folder.has, FILES), FILES[0]))
    types = settings.get_object("types")
    structure = settings.get_object("structure")
    if set(structure.fields) != {QUERY, DOCUMENT} or len(types.fields) > MOST_MODULES:
        expected = f"an object of the modules of {QUERY} and {DOCUMENT}"
        raise settings.wrong("structure", expected, structure.fields)
    modules = {
        name: listed_as(folder, Settings(types.path, {"type": kind, "path": name}))
        for name, kind in types.fields.items()
    }
    routes = {}
    for route in (QUERY, DOCUMENT):
        names = structure.get(route, list)
        if not names or not all(isinstance(n, str) and n in modules for n in names):
            raise structure.wrong(route, "a list of names in types", names)
        routes[route] = tuple(modules[name] for name in names)
    return Routes(structure, **routes, default=_default(settings, structure))


def _default(settings: Settings, structure: Settings) -> str | None:
    """Read which route a text takes that nobody calls the one or the other."""
    parameters = settings.get_object("parameters")
    for field in parameters.fields:
        if field not in PARAMETERS:
            problem = "is a field that fastattn does not know: it may change vectors"
            raise parameters.error(field, problem)
    if parameters.fields.get("route_mappings"):
        raise parameters.error("route_mappings", "are not read: they must be empty")
    if parameters.has("default_route"):
        return parameters.get_choice("default_route", (QUERY, DOCUMENT))
    first: str = next(iter(structure.fields))
    return first if parameters.get("allow_empty_key", bool, True) else None


def router_files(
    routes: Mapping[str, Mapping[str, Mapping[str, Writer]]],
    types: Mapping[str, str],
    default: str | None,
) -> tuple[dict[str, Writer], dict[str, Mapping[str, Writer]]]:
    """Give what writes the settings of a router, and its modules by their folders.

    `routes` has the files of each module of each route, by kind, `types` the name of each
    kind.
    """
    kinds: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    parts: dict[str, Mapping[str, Writer]] = {}
    for route, modules in routes.items():
        names = [f"{route}_{i}_{kind}" for i, kind in enumerate(modules)]
        structure[route] = names
        kinds |= {name: types[kind] for name, kind in zip(names, modules, strict=True)}
        parts |= dict(zip(names, modules.values(), strict=True))
    fields = {
        "types": kinds,
        "structure": structure,
        "parameters": {"default_route": default, "allow_empty_key": default is not None},
    }
    return {FILES[0]: json_file(fields)}, parts
