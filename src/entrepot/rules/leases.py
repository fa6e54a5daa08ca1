"""Leases: how long an unreferenced blob is kept for the manifest that will come.

A client that asks whether a blob is here (HEAD), mounts or uploads it is about to push a
manifest that needs it, so each of these renews the lease. A renewal is a write; one that would
gain little is skipped, so that the many HEADs of an ordinary push cost reads only.
"""


def renewal(leased_until: float, *, lease: float, now: float) -> float | None:
    """Return the time to extend a lease to, or None while more than half of it is left.

    All values are seconds; `leased_until` and `now` since the Unix epoch.
    """
    if leased_until - now > lease / 2:
        return None
    return now + lease
