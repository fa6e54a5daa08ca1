"""Mirror paths and routing: nothing is raised but refusals, and names that are hosted stay so."""

from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.oci.digest import Digest
from entrepot.oci.errors import Denied, NameInvalid, NameUnknown
from entrepot.oci.reference import RepositoryName, Tag, is_host
from entrepot.protocol import routes
from entrepot.protocol.mirror_paths import split
from entrepot.rules.source_routing import Question, Route, RoutingTable, resolve
from entrepot.rules.sources import Hosted, Mirrored
from tests.property import strategies

_SEGMENTS = st.one_of(
    st.sampled_from(
        ["", "v2", "docker.io", "localhost:5000", "localhost%3A5000", "hub", "..", "%2f", "[::1]:1"]
    ),
    st.text(max_size=6),
)
_PATHS = st.one_of(
    strategies.any_text, st.lists(_SEGMENTS, max_size=6).map(lambda parts: "/" + "/".join(parts))
)
_HOSTS = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,3}(:[1-9][0-9]{0,3})?", fullmatch=True)
_TABLES = {
    "plain": RoutingTable.of(),
    "closed": RoutingTable.of([Route.of("docker.io", aliases=["hub"]), Route.of("localhost:5000")]),
    "default": RoutingTable.of(default="docker.io", hosted=["apps/*"]),
    "open": RoutingTable.of(open=True),
    "bare": RoutingTable.of([Route.of("quay.io", hosts=["quay.mirror"], rewrites=["*=x/*"])]),
}


@given(_PATHS)
@example("/v2/%3A/")
def test_a_path_is_taken_apart_or_left_alone(path: str) -> None:
    prefix, rest = split(path)
    if not prefix:
        assert rest == path
        return
    assert rest == "/v2" or rest.startswith("/v2/")
    assert path.endswith(rest.removeprefix("/v2/") or rest)
    assert prefix == prefix.lower()
    assert not set(prefix) & set("/%@ \r\n\\?#")


@given(strategies.names, st.one_of(strategies.tags, strategies.digests()))
def test_paths_of_hosted_names_are_left_alone(
    name: RepositoryName, reference: Tag | Digest
) -> None:
    path = routes.manifest_path(name, reference)
    assert split(path) == ("", path)


@given(_HOSTS.filter(is_host), strategies.names, strategies.tags)
def test_a_host_is_found_in_both_places(host: str, name: RepositoryName, tag: Tag) -> None:
    path = routes.manifest_path(name, tag)
    assert split(f"/{host}{path}") == (host, path)
    if ":" in host:
        assert split(f"/v2/{host}{path.removeprefix('/v2')}") == (host, path)


@given(
    st.sampled_from(sorted(_TABLES)),
    strategies.names,
    strategies.any_text,
    st.one_of(st.none(), strategies.any_text, _HOSTS),
    st.one_of(st.just(""), strategies.any_text, _HOSTS),
)
def test_any_question_has_a_source_or_a_refusal(
    kind: str, name: RepositoryName, host: str, ns: str | None, prefix: str
) -> None:
    try:
        source = resolve(_TABLES[kind], Question(name, host, ns, prefix))
    except (Denied, NameInvalid, NameUnknown):
        return
    assert RepositoryName.parse(source.name) == source.name
    if isinstance(source, Mirrored):
        assert is_host(source.upstream)  # it is dialled


@given(strategies.names, strategies.any_text, st.one_of(st.none(), strategies.any_text))
def test_a_plain_registry_hosts_whatever_it_is_asked_for(
    name: RepositoryName, host: str, ns: str | None
) -> None:
    assert resolve(_TABLES["plain"], Question(name, host, ns)) == Hosted(name)
