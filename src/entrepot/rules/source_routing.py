"""Source routing: which registry a client means, by everything that it says.

Clients say it in five ways, looked at in this order:

1. A path in front of `/v2/`, or a first segment with a port (`protocol/mirror_paths` reads both).
2. The name's first segment, if that is a host or a word that the operator has given an upstream.
3. `ns`, which containerd and BuildKit add for a mirror. It is a key to look up and never dialled.
4. The server's name that was asked (`Host`), where an upstream has one of its own.
5. Nothing: then it is the default registry, or a name that is hosted here.

What clients add by themselves (3) gives way to what a person has written into an address (1 and 2):
a mirror configured as `proxy/quay.io` is asked with the `ns` of the registry it stands for. Under
3 and 4 an upstream is known already; a first segment is then a part of the name unless it is a
host that is known here (or, under 3, another word for the same upstream).

A host that nobody has allowed is Denied, unless the table is `open`. Without any routes every name
is hosted here, whatever it looks like.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from entrepot.oci.errors import Denied, NameInvalid, NameUnknown
from entrepot.oci.reference import RepositoryName, is_host, looks_like_host
from entrepot.rules.name_patterns import NamePatterns, Rewrite, rewritten
from entrepot.rules.realms import leads_outside
from entrepot.rules.sources import Hosted, Mirrored, Redirected, Source
from entrepot.rules.upstream_presets import canonical_host, preset_for

Mode = Literal["mirror", "redirect"]

AUTOMATIC: Final = "auto"
"""What stands for the official namespace of a preset."""

_EVERYTHING: Final = NamePatterns.of(("*",))


@dataclass(frozen=True, slots=True)
class Route:
    """What the operator has decided about the names of one upstream.

    `aliases` and `hosts` (names of this server) were written by the operator, `habits` are further
    names by the preset, which give way to what others are called. `official` is the namespace of
    one-word names, empty for none.
    """

    upstream: str
    aliases: tuple[str, ...] = ()
    habits: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    mode: Mode = "mirror"
    official: str = ""
    rewrites: tuple[Rewrite, ...] = ()
    allow: NamePatterns = _EVERYTHING
    deny: NamePatterns = field(default_factory=NamePatterns)

    @classmethod
    def of(
        cls,
        upstream: str,
        *,
        preset: str = "",
        aliases: Iterable[str] = (),
        hosts: Iterable[str] = (),
        mode: Mode = "mirror",
        official: str = AUTOMATIC,
        rewrites: Iterable[str] = (),
        allow: Iterable[str] = ("*",),
        deny: Iterable[str] = (),
    ) -> "Route":
        """Make a route from settings as people write them. Raise NameInvalid."""
        known = preset_for(upstream, preset)
        namespace = known.official if official == AUTOMATIC else official.strip("/")
        if namespace:
            RepositoryName.parse(namespace)
        return cls(
            upstream,
            tuple(map(_key, aliases)),
            known.aliases,
            tuple(map(_key, hosts)),
            mode,
            namespace,
            tuple(map(Rewrite.parse, rewrites)),
            NamePatterns.of(allow),
            NamePatterns.of(deny),
        )

    def source(self, asked: RepositoryName) -> Source:
        """Return the repository that a name means here. Raise Denied, saying by which rule."""
        name = asked
        if self.official and "/" not in asked:
            name = RepositoryName.parse(f"{self.official}/{asked}")
        other = rewritten(name, self.rewrites)
        rule = self.deny.first(asked, name, other)
        if rule is not None:
            raise Denied(
                f"{name} may not be pulled from {self.upstream}: the rule deny = {rule!r} forbids "
                "it; ask whoever runs this server",
                detail={"upstream": self.upstream, "name": name, "rule": rule},
            )
        if self.allow.first(asked, name) is None:
            allowed = ", ".join(self.allow.texts) or "nothing"
            raise Denied(
                f"{name} may not be pulled from {self.upstream}: the rule allow lets through "
                f"{allowed[:200]} only; ask whoever runs this server",
                detail={"upstream": self.upstream, "name": name, "rule": "allow"},
            )
        made = Mirrored if self.mode == "mirror" else Redirected
        return made(self.upstream, other)


@dataclass(frozen=True, slots=True)
class Question:
    """What a client has asked for. `host` is the `Host` field, `namespace` the parameter `ns`,
    `prefix` what stood in front of `/v2/`, or the first segment where it has a port."""

    name: RepositoryName
    host: str = ""
    namespace: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """All routes, by everything that can name them. Make one by `of`.

    `default` takes names that say no registry and are not `hosted`; `everything` goes before it and
    takes names that look like a host, too. `own` are this server's names.
    `template` makes the route of a host that an `open` table has none for.
    """

    names: Mapping[str, Route] = field(default_factory=dict)
    hosts: Mapping[str, Route] = field(default_factory=dict)
    default: Route | None = None
    everything: Route | None = None
    hosted: NamePatterns = field(default_factory=NamePatterns)
    open: bool = False
    own: frozenset[str] = frozenset()
    template: Callable[[str], Route] = Route.of

    @classmethod
    def of(
        cls,
        routes: Iterable[Route] = (),
        *,
        default: str = "",
        everything: Route | None = None,
        hosted: Iterable[str] = (),
        open: bool = False,
        own: Iterable[str] = (),
        template: Callable[[str], Route] = Route.of,
    ) -> "RoutingTable":
        """Make a table. A `default` that no route is called has its preset's.

        Raise NameInvalid if two routes have the same name, alias or host, or `default` is neither
        a route nor a host.
        """
        every = list(routes)
        names: dict[str, Route] = {}
        for route in every:
            _add(names, _key(route.upstream), route)
        for route in every:
            for alias in route.aliases:
                _add(names, alias, route)
        for route in every:
            for habit in route.habits:
                names.setdefault(habit, route)
        hosts: dict[str, Route] = {}
        for route in every:
            for host in route.hosts:
                _add(hosts, host, route)
        meant = names.get(_key(default)) or _unlisted(default, template) if default else None
        if meant is not None:
            for known in (_key(default), _key(meant.upstream), *meant.habits):
                names.setdefault(known, meant)
        return cls(
            names,
            hosts,
            meant,
            everything,
            NamePatterns.of(hosted),
            open,
            frozenset(map(_key, own)),
            template,
        )

    @property
    def plain(self) -> bool:
        """Whether there is nothing but what is hosted here."""
        return not (self.names or self.everything or self.open)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route once."""
        every = [*self.names.values(), *([self.everything] if self.everything else [])]
        return tuple({id(route): route for route in every}.values())


def resolve(table: RoutingTable, question: Question) -> Source:
    """Return what a question leads to.

    Raise Denied for a registry that is not allowed, telling how to allow it, or for a name that
    rules forbid; NameUnknown for a path prefix that is no upstream; NameInvalid if a rule makes
    no name.
    """
    name = question.name
    if question.prefix:
        return _by_prefix(table, question.prefix).source(name)
    if table.plain:
        return Hosted(name)
    first, slash, rest = name.partition("/")
    named = table.names.get(first) if slash else None
    if named is not None and looks_like_host(first):
        return named.source(RepositoryName(rest))
    if question.namespace:
        key = _key(question.namespace)
        if key not in table.own and key != _key(question.host):
            meant = _by_namespace(table, key)
            # BuildKit's `mirrors = ["proxy/hub"]` says it twice.
            return meant.source(RepositoryName(rest) if named is meant else name)
    bound = _by_host(table, question.host)
    if bound is not None:
        return bound.source(name)
    if named is not None:
        return named.source(RepositoryName(rest))
    if table.hosted.first(name) is not None:
        return Hosted(name)
    if table.everything is not None:
        return table.everything.source(name)
    if slash and looks_like_host(first):
        return _stranger(table, first).source(RepositoryName(rest))
    return table.default.source(name) if table.default is not None else Hosted(name)


def _by_prefix(table: RoutingTable, prefix: str) -> Route:
    known = table.names.get(_key(prefix))
    if known is not None:
        return known
    if not looks_like_host(prefix):
        raise NameUnknown(
            f"there is no upstream called {prefix[:100]!r} here; `entrepot upstream ls` lists them",
            detail={"upstream": prefix[:255]},
        )
    return _stranger(table, prefix)


def _by_namespace(table: RoutingTable, key: str) -> Route:
    return table.names.get(key) or table.everything or _stranger(table, key)


def _by_host(table: RoutingTable, host: str) -> Route | None:
    if not table.hosts or not host:
        return None
    key = _key(host)
    return table.hosts.get(key) or table.hosts.get(_without_port(key))


def _stranger(table: RoutingTable, host: str) -> Route:
    """Return a route to a host that nobody has listed. Raise Denied unless the table is open."""
    if not is_host(host) or (table.open and not looks_like_host(host)):
        raise Denied(
            f"{host[:255]!r} is not a registry's host; write host or host:port",
            detail={"host": host[:255]},
        )
    if not table.open:
        raise Denied(
            f"{host} is not mirrored here; to allow it, run `entrepot upstream add {host}`, or "
            f'put [upstreams."{host}"] into the configuration',
            detail={"host": host},
        )
    meant = canonical_host(host)
    # Anybody may name a host here, so none may be this machine or in the network around it.
    # Where a name leads is judged when a connection is made.
    if not leads_outside(f"https://{meant}"):
        raise Denied(
            f"{host} is not on the internet but this machine or in the network around it, which "
            f"nobody may name; to allow it, run `entrepot upstream add {host}`",
            detail={"host": host},
        )
    return table.names.get(meant) or _made(table.template, meant)


@lru_cache(maxsize=1024)
def _made(template: Callable[[str], Route], host: str) -> Route:
    return template(host)


def _unlisted(default: str, template: Callable[[str], Route]) -> Route:
    if not is_host(default) or not looks_like_host(default):
        raise NameInvalid(
            f"the default registry {default[:255]!r} is neither an upstream nor a host; "
            f'add it as [upstreams."{default[:255]}"]',
            detail={"host": default[:255]},
        )
    return template(canonical_host(default))


def _add(routes: dict[str, Route], key: str, route: Route) -> None:
    other = routes.setdefault(key, route)
    if other is not route:
        raise NameInvalid(
            f"both {other.upstream} and {route.upstream} are called {key}; give that name to one",
            detail={"name": key},
        )


def _key(text: str) -> str:
    """Return a host or word as tables have it."""
    return text.strip().lower().removesuffix(":443")


def _without_port(host: str) -> str:
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() else host
