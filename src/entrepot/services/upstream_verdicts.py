"""Verdicts: what an endpoint's error means for the question, the other endpoints and itself.

kind                                       next endpoint    asked again   counts against it
has it not (…Unknown)                      with `order`     no            no
cannot now (Unavailable …)                 yes              mostly        yes
too often (TooManyRequests)                yes              yes           no
not for us (Unauthorized, Denied)          yes              no            no
wrong content (DigestInvalid …)            yes              no            yes
the question is wrong (RangeInvalid …)     no               no            no
anything else                              yes              no            no
"""

from collections.abc import Mapping, Sequence
from typing import Final

from entrepot.oci import errors
from entrepot.oci.errors import RegistryError

UNKNOWN: Final = (
    errors.BlobUnknown,
    errors.ManifestUnknown,
    errors.ManifestBlobUnknown,
    errors.NameUnknown,
)
"""An endpoint has answered, and has it not."""

WRONG_CONTENT: Final = (errors.DigestInvalid, errors.SizeInvalid, errors.ContentInvalid)
_WRONG_QUESTION: Final = (errors.RangeInvalid, errors.NameInvalid, errors.TagInvalid)
_NOT_BY_WAITING: Final = (errors.CertificateRefused, errors.StoreFull)


def concerns_question(error: RegistryError) -> bool:
    """Say whether every endpoint would give the same answer."""
    return isinstance(error, _WRONG_QUESTION)


def is_unhealthy(error: RegistryError) -> bool:
    """Say whether an error counts against an endpoint's health."""
    return isinstance(error, (errors.Unavailable, *WRONG_CONTENT))


def may_pass(error: RegistryError, *, reached: bool) -> bool:
    """Say whether the same question may succeed there a little later; `reached` if the endpoint
    has ever answered: a name that was never resolved is mistyped, not away."""
    if isinstance(error, _NOT_BY_WAITING):
        return False
    if isinstance(error, errors.HostUnknown):
        return reached
    return isinstance(error, errors.Unavailable | errors.TooManyRequests)


def rest_asked(error: RegistryError) -> float | None:
    """Return for how many seconds an endpoint wants to be left alone, if it says so."""
    asked = error.detail.get("retry_after")
    if not isinstance(asked, int | float) or isinstance(asked, bool):
        return None
    return float(asked)


def verdict(
    ranked: Sequence[str], said: Mapping[str, RegistryError], left_out: Mapping[str, RegistryError]
) -> RegistryError:
    """Return what all endpoints together say, none of which gave an answer.

    `ranked` are their URLs in the order of preference, `said` what those asked have said, and
    `left_out` why the others were not asked. Unknown counts only if nobody failed otherwise:
    who failed may have it. One that is left out may have it too, unless an endpoint behind it,
    nearer to the origin, has it not.
    """
    ranked = list(dict.fromkeys((*ranked, *said)))  # the pool may have changed meanwhile
    for url in ranked:
        if url in said and not isinstance(said[url], UNKNOWN):
            return said[url]
    for url in reversed(ranked):
        if url in said:
            return said[url]
        if url in left_out:
            return left_out[url]
    return errors.Unavailable(
        "no endpoint of this upstream is known; check its `endpoints` or `discovery`"
    )
