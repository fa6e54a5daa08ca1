"""Routes: what is built is read, and no path does more than be read or refused."""

from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.oci.digest import Digest
from entrepot.oci.errors import RegistryError
from entrepot.oci.reference import RepositoryName, Tag
from entrepot.protocol import routes
from tests.property import strategies

_WORDS = ["", "v2", "a", "blobs", "uploads", "manifests", "tags", "list", "referrers", "_catalog"]
_BROKEN = ["..", ".", "%2F", "%2e%2e", "%", "%zz", "A", "\0", "ä", "x" * 300, "\ud800"]
_DIGESTS = ["sha256:short", "sha256:" + "0" * 64, "sha256%3A" + "0" * 64]
_SEGMENTS = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from(_BROKEN),
    st.sampled_from(_DIGESTS),
    st.text(max_size=5),
)


@given(strategies.names, strategies.digests())
def test_blobs_and_referrers_round_trip(name: RepositoryName, digest: Digest) -> None:
    assert routes.parse(routes.blob_path(name, digest)) == routes.Blob(name, digest)
    assert routes.parse(routes.referrers_path(name, digest)) == routes.Referrers(name, digest)


@given(strategies.names, st.one_of(strategies.tags, strategies.digests()))
def test_manifests_round_trip(name: RepositoryName, reference: Tag | Digest) -> None:
    path = routes.manifest_path(name, reference)
    assert routes.parse(path) == routes.Manifest(name, reference)


@given(strategies.names, strategies.sessions)
def test_uploads_and_tags_round_trip(name: RepositoryName, session: str) -> None:
    assert routes.parse(routes.start_upload_path(name)) == routes.StartUpload(name)
    assert routes.parse(routes.upload_path(name, session)) == routes.Upload(name, session)
    assert routes.parse(routes.tags_path(name)) == routes.TagsList(name)


@given(st.one_of(strategies.any_text, st.lists(_SEGMENTS, max_size=7).map("/".join)))
@example("")
def test_any_path_is_a_route_none_or_refused(rest: str) -> None:
    for path in (rest, "/v2/" + rest):
        try:
            route = routes.parse(path)
        except RegistryError:
            continue
        if route is not None:
            _holds_only_valid_values(route)


def _holds_only_valid_values(route: routes.Route) -> None:
    if isinstance(route, routes.Base | routes.Catalog):
        return
    assert RepositoryName.parse(route.name) == route.name
    if isinstance(route, routes.Manifest):
        kind = Digest if isinstance(route.reference, Digest) else Tag
        assert kind.parse(str(route.reference)) == route.reference
    if isinstance(route, routes.Blob | routes.Referrers):
        assert Digest.parse(str(route.digest)) == route.digest
    if isinstance(route, routes.Upload):
        assert route.session.replace("-", "").replace("_", "").isalnum() or set(
            route.session
        ) <= set("-_")
