"""The registry: every service in one frozen object, which is all a face is given."""

from dataclasses import dataclass

from entrepot.ports.content_store import ContentStore
from entrepot.ports.metadata_store import MetadataStore
from entrepot.services.blobs import Blobs
from entrepot.services.catalog import Catalog
from entrepot.services.housekeeping import Housekeeping
from entrepot.services.manifests import Manifests
from entrepot.services.proxy import Proxy
from entrepot.services.referrers import Referrers
from entrepot.services.tags import Tags
from entrepot.services.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Registry:
    """Use cases by noun, and the two stores behind them for health checks. Without `proxy` every
    name is hosted here."""

    blobs: Blobs
    uploads: Uploads
    manifests: Manifests
    tags: Tags
    referrers: Referrers
    catalog: Catalog
    housekeeping: Housekeeping
    content: ContentStore
    metadata: MetadataStore
    proxy: Proxy | None = None
