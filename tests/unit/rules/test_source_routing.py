from collections.abc import Callable
from functools import partial

import pytest

from entrepot.oci.errors import Denied, NameInvalid, NameUnknown
from entrepot.oci.reference import RepositoryName
from entrepot.rules.source_routing import Question, Route, RoutingTable, resolve
from entrepot.rules.sources import Hosted, Mirrored, Redirected, Source

HUB = Route.of("docker.io", aliases=["hub"], hosts=["hub.mirror.example"])
QUAY = Route.of("quay.io")
LOCAL = Route.of("localhost:5000")
HOME = Route.of("images.example", mode="redirect", hosts=["home.example:8443"])
ROUTES = (HUB, QUAY, LOCAL, HOME)

PLAIN = RoutingTable.of()
CLOSED = RoutingTable.of(ROUTES, own=["mirror.example"])
DEFAULT = RoutingTable.of(ROUTES, default="docker.io", hosted=["apps/*", "my.apps/*"])
OPEN = RoutingTable.of(ROUTES, open=True)


def ask(
    table: RoutingTable,
    name: str,
    *,
    host: str = "",
    ns: str | None = None,
    prefix: str = "",
) -> Source:
    return resolve(table, Question(RepositoryName.parse(name), host, ns, prefix))


def hosted(name: str) -> Hosted:
    return Hosted(RepositoryName(name))


def mirrored(upstream: str, name: str) -> Mirrored:
    return Mirrored(upstream, RepositoryName(name))


# A plain registry


@pytest.mark.parametrize(
    "name", ["a", "a/b", "my.app/x", "docker.io/library/alpine", "localhost/x"]
)
def test_without_routes_every_name_is_hosted(name: str) -> None:
    assert ask(PLAIN, name) == hosted(name)
    assert ask(PLAIN, name, ns="docker.io", host="anything") == hosted(name)


def test_without_routes_a_registry_in_the_path_is_denied_or_unknown() -> None:
    with pytest.raises(Denied, match="localhost:5000 is not mirrored"):
        ask(PLAIN, "a", prefix="localhost:5000")
    with pytest.raises(NameUnknown, match="'api'"):
        ask(PLAIN, "a", prefix="api")


# The first segment, and the path in front


@pytest.mark.parametrize(
    ("name", "prefix", "source"),
    [
        ("docker.io/library/alpine", "", mirrored("docker.io", "library/alpine")),
        ("quay.io/org/app", "", mirrored("quay.io", "org/app")),
        ("hub/org/app", "", mirrored("docker.io", "org/app")),
        ("library/alpine", "docker.io", mirrored("docker.io", "library/alpine")),
        ("library/alpine", "Docker.io:443", mirrored("docker.io", "library/alpine")),
        ("org/app", "hub", mirrored("docker.io", "org/app")),
        ("org/app", "localhost:5000", mirrored("localhost:5000", "org/app")),
        ("images.example/app", "", Redirected("images.example", RepositoryName("app"))),
        # Only the first one: the rest is a name, whatever it looks like.
        ("quay.io/docker.io/x", "", mirrored("quay.io", "docker.io/x")),
        ("quay.io/x", "docker.io", mirrored("docker.io", "quay.io/x")),
    ],
)
def test_a_path_names_the_upstream(name: str, prefix: str, source: Source) -> None:
    """PX-01: the same name of two upstreams is two repositories."""
    assert ask(CLOSED, name, prefix=prefix) == source


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io", "hub"])
def test_aliases_share_one_entry(host: str) -> None:
    """BE-01: whatever Docker Hub is called, its content is kept once."""
    source = ask(CLOSED, f"{host}/library/alpine")
    assert isinstance(source, Mirrored)
    assert source.repository == "docker.io/library/alpine"
    assert ask(CLOSED, "library/alpine", prefix=host) == source
    assert ask(CLOSED, "library/alpine", ns=host) == source


def test_an_upstreams_own_name_goes_before_a_presets_alias() -> None:
    table = RoutingTable.of([HUB, Route.of("registry.hub.docker.com")])
    assert ask(table, "registry.hub.docker.com/a/b").upstream == "registry.hub.docker.com"
    assert ask(table, "index.docker.io/a/b").upstream == "docker.io"


def test_two_upstreams_cannot_have_one_name() -> None:
    with pytest.raises(NameInvalid, match=r"both docker\.io and quay\.io are called hub"):
        RoutingTable.of([HUB, Route.of("quay.io", aliases=["HUB"])])
    with pytest.raises(NameInvalid, match=r"hub\.mirror\.example"):
        RoutingTable.of([HUB, Route.of("quay.io", hosts=["hub.mirror.example"])])


# Hosts that nobody has listed


@pytest.mark.parametrize(
    "asked",
    [
        partial(ask, name="evil.example/a/b"),
        partial(ask, name="localhost/a"),
        partial(ask, name="a", prefix="evil.example"),
        partial(ask, name="a", prefix="localhost:5001"),
        partial(ask, name="a", ns="evil.example"),
        partial(ask, name="a", ns="word"),
    ],
    ids=["first segment", "localhost", "prefix", "port", "ns", "ns word"],
)
def test_an_unlisted_host_is_denied_and_told_how_to_be_allowed(
    asked: Callable[[RoutingTable], Source],
) -> None:
    """PX-03: closed unless the operator has opened it."""
    for table in (CLOSED, DEFAULT):
        with pytest.raises(Denied, match=r"`entrepot upstream add \S+`.*\[upstreams\.\"") as told:
            asked(table)
        assert told.value.detail["host"]


@pytest.mark.parametrize(
    "ns",
    ["a b", "x; rm -rf /", "host/path", "a@b", "a\nb", "[", "x" * 9999, "h:99999"],
    ids=["space", "command", "path", "account", "line break", "bracket", "long", "port"],
)
def test_no_advice_repeats_what_is_no_host(ns: str) -> None:
    for table in (CLOSED, OPEN):
        with pytest.raises(Denied) as told:
            ask(table, "a", ns=ns)
        assert "upstream add" not in told.value.message
        assert len(told.value.message) < 1500


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        (partial(ask, name="other.example/a/b"), mirrored("other.example", "a/b")),
        (partial(ask, name="a", ns="other.example"), mirrored("other.example", "a")),
        (partial(ask, name="a", prefix="other.example:5000"), mirrored("other.example:5000", "a")),
        (
            partial(ask, name="other.example/a", ns="quay.io"),
            mirrored("quay.io", "other.example/a"),
        ),
        (partial(ask, name="a", prefix="other.example:443"), mirrored("other.example", "a")),
        (partial(ask, name="a/b"), hosted("a/b")),
        (partial(ask, name="index.docker.io/x"), mirrored("docker.io", "library/x")),
    ],
    ids=["first segment", "ns", "prefix", "listed ns", "port of https", "no host", "alias"],
)
def test_an_open_table_mirrors_any_host(
    asked: Callable[[RoutingTable], Source], source: Source
) -> None:
    assert asked(OPEN) == source


def test_an_open_table_without_routes_knows_the_presets() -> None:
    table = RoutingTable.of(open=True)
    assert ask(table, "registry.hub.docker.com/alpine") == mirrored("docker.io", "library/alpine")
    assert ask(table, "k8s.gcr.io/pause") == mirrored("registry.k8s.io", "pause")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.169.254:80", "127.0.0.1", "127.0.0.1:5000", "localhost:5001",
        "0.0.0.0", "127.1", "2130706433.", "100.100.100.200", "168.63.129.16", "[::1]:5000",
        "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "x.localhost",
        "10.0.0.5:8500", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]",
        "[64:ff9b::7f00:1]", "[2002:a00:1::1]", "intra:8080", "metadata.google.internal",
        "vault.svc.cluster.local:8200",
    ],
)  # fmt: skip
def test_an_open_table_is_no_way_into_the_machine_its_network_or_its_cloud(host: str) -> None:
    for question in ({"prefix": host}, {"ns": host}):
        with pytest.raises(Denied):
            ask(OPEN, "a", **question)


def test_who_is_listed_may_be_anywhere() -> None:
    assert ask(OPEN, "a", prefix="localhost:5000") == mirrored("localhost:5000", "a")


def test_an_open_table_makes_routes_by_its_template() -> None:
    template = partial(Route.of, deny=["secret/*"])
    table = RoutingTable.of(open=True, template=template)
    assert ask(table, "docker.io/alpine") == mirrored("docker.io", "library/alpine")
    with pytest.raises(Denied, match=r"deny = 'secret/\*'"):
        ask(table, "other.example/secret/x")


# ns


@pytest.mark.parametrize(
    ("name", "ns", "source"),
    [
        ("library/alpine", "docker.io", mirrored("docker.io", "library/alpine")),
        ("alpine", "DOCKER.IO", mirrored("docker.io", "library/alpine")),
        # BuildKit's mirrors = ["proxy/docker.io"] says it in both places.
        ("docker.io/library/alpine", "docker.io", mirrored("docker.io", "library/alpine")),
        ("hub/library/alpine", "docker.io", mirrored("docker.io", "library/alpine")),
        # A mirror that stands in for another registry: a person wrote the path.
        ("quay.io/org/app", "docker.io", mirrored("quay.io", "org/app")),
        ("quay.io/org/app", "unlisted.example", mirrored("quay.io", "org/app")),
        # A word or dotted name at the registry that ns names, not at another one.
        ("hub/x", "quay.io", mirrored("quay.io", "hub/x")),
        ("my.group/x", "quay.io", mirrored("quay.io", "my.group/x")),
        ("a/b", "localhost:5000", mirrored("localhost:5000", "a/b")),
    ],
)
def test_ns_is_a_key_to_look_up(name: str, ns: str, source: Source) -> None:
    assert ask(CLOSED, name, ns=ns) == source


@pytest.mark.parametrize("ns", ["", "mirror.example", "MIRROR.example:443", "this.host:5000"])
def test_ns_that_means_this_server_says_nothing(ns: str) -> None:
    assert ask(CLOSED, "a/b", ns=ns, host="this.host:5000") == hosted("a/b")


# Host


@pytest.mark.parametrize(
    ("name", "host", "source"),
    [
        ("library/alpine", "hub.mirror.example", mirrored("docker.io", "library/alpine")),
        ("alpine", "Hub.Mirror.Example:5000", mirrored("docker.io", "library/alpine")),
        ("hub/x", "hub.mirror.example", mirrored("docker.io", "hub/x")),
        ("my.group/x", "hub.mirror.example", mirrored("docker.io", "my.group/x")),
        ("quay.io/x/y", "hub.mirror.example", mirrored("quay.io", "x/y")),
        ("app", "home.example:8443", Redirected("images.example", RepositoryName("app"))),
        ("app", "home.example", hosted("app")),
        ("a/b", "other.example", hosted("a/b")),
    ],
)
def test_a_name_of_this_server_can_be_an_upstreams(name: str, host: str, source: Source) -> None:
    assert ask(CLOSED, name, host=host) == source


# The default


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ubuntu", mirrored("docker.io", "library/ubuntu")),
        ("acme/app", mirrored("docker.io", "acme/app")),
        ("docker.io/ubuntu", mirrored("docker.io", "library/ubuntu")),
        ("quay.io/ubuntu", mirrored("quay.io", "ubuntu")),
        ("apps/x", hosted("apps/x")),
        ("my.apps/x", hosted("my.apps/x")),
    ],
)
def test_the_default_registry_takes_names_without_one(name: str, source: Source) -> None:
    """PX-02: `library/` for one word, and where the upstream has that habit only."""
    assert ask(DEFAULT, name) == source


def test_a_default_registry_needs_no_route_of_its_own() -> None:
    table = RoutingTable.of(default="registry.hub.docker.com")
    assert ask(table, "ubuntu") == mirrored("docker.io", "library/ubuntu")
    assert ask(table, "docker.io/ubuntu") == mirrored("docker.io", "library/ubuntu")
    assert [route.upstream for route in table.routes] == ["docker.io"]


def test_a_default_registry_must_be_one() -> None:
    with pytest.raises(NameInvalid, match="default registry 'nowhere' is neither"):
        RoutingTable.of(ROUTES, default="nowhere")


def test_without_a_default_names_are_hosted_here() -> None:
    assert ask(CLOSED, "ubuntu") == hosted("ubuntu")
    assert ask(CLOSED, "hub") == hosted("hub")
    assert ask(CLOSED, "docker.io") == hosted("docker.io")


def test_one_upstream_can_have_everything() -> None:
    """RD-01: `UpstreamRegistry` takes all names, also those that look like hosts."""
    everything = Route.of("redirect", mode="redirect")
    table = RoutingTable.of(everything=everything)
    for name in ("a", "a/b", "my.app/x", "docker.io/x"):
        assert ask(table, name) == Redirected("redirect", RepositoryName(name))
        assert ask(table, name, ns="images.example") == Redirected("redirect", RepositoryName(name))
    with pytest.raises(Denied):
        ask(table, "a", prefix="docker.io")
    beside = RoutingTable.of([QUAY], everything=everything, hosted=["apps/*"])
    assert ask(beside, "apps/x") == hosted("apps/x")
    assert ask(beside, "quay.io/a/b") == mirrored("quay.io", "a/b")


# Names upstream, and rules about them


def test_official_names_can_be_chosen() -> None:
    table = RoutingTable.of([Route.of("registry.example", official="base")])
    assert ask(table, "registry.example/x") == mirrored("registry.example", "base/x")
    none = RoutingTable.of([Route.of("docker.io", official="")])
    assert ask(none, "docker.io/x") == mirrored("docker.io", "x")
    with pytest.raises(NameInvalid):
        Route.of("docker.io", official="LIBRARY")


def test_a_namespace_is_rewritten() -> None:
    """BE-04: `rancher/*` comes from another namespace; the first match counts."""
    route = Route.of(
        "docker.io", rewrites=["rancher/shell=special/shell", "rancher/*=stable/rancher/*"]
    )
    table = RoutingTable.of([route], default="docker.io")
    assert ask(table, "rancher/rancher") == mirrored("docker.io", "stable/rancher/rancher")
    assert ask(table, "rancher/shell") == mirrored("docker.io", "special/shell")
    assert ask(table, "ubuntu") == mirrored("docker.io", "library/ubuntu")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("docker.io/acme/secret/x", r"deny = '\*/secret/\*'"),
        ("docker.io/moved/x", r"deny = 'hidden/\*'"),
        ("docker.io/other/x", "allow lets through acme/"),
        ("docker.io/ubuntu", "allow lets through acme/"),
    ],
)
def test_rules_forbid_names_and_say_which_rule(name: str, rule: str) -> None:
    route = Route.of(
        "docker.io",
        allow=["acme/*", "moved/*", "alpine", "library/debian"],
        deny=["*/secret/*", "hidden/*"],
        rewrites=["moved/*=hidden/*"],
    )
    table = RoutingTable.of([route])
    with pytest.raises(Denied, match=rule):
        ask(table, name)
    assert ask(table, "docker.io/acme/app") == mirrored("docker.io", "acme/app")
    # Written short or in full, it is the same image.
    assert ask(table, "docker.io/alpine") == mirrored("docker.io", "library/alpine")
    assert ask(table, "docker.io/debian") == mirrored("docker.io", "library/debian")
