"""The error tree: everything Entrepot refuses, by the code the distribution-spec gives it.

Each error says what happened and what to do next. A face maps the class to its own
words (an HTTP status in `web/v2/errors.py`, an exit code in `cli/`); nothing else maps errors.

    RegistryError
    ├── BlobUnknown             BLOB_UNKNOWN
    ├── BlobUploadInvalid       BLOB_UPLOAD_INVALID
    │   ├── UploadOutOfOrder        the chunk does not start where the upload ends
    │   └── UploadBusy              another request is writing to this upload
    ├── BlobUploadUnknown       BLOB_UPLOAD_UNKNOWN
    ├── DigestInvalid           DIGEST_INVALID
    ├── ManifestBlobUnknown     MANIFEST_BLOB_UNKNOWN
    ├── ManifestInvalid         MANIFEST_INVALID
    │   └── ManifestTooLarge
    ├── ManifestUnknown         MANIFEST_UNKNOWN
    ├── NameInvalid             NAME_INVALID
    ├── NameUnknown             NAME_UNKNOWN
    ├── TagInvalid              TAG_INVALID
    │   └── TooManyTags             more `?tag=` parameters than one push may carry
    ├── SizeInvalid             SIZE_INVALID
    ├── RangeInvalid            RANGE_INVALID
    ├── PaginationNumberInvalid PAGINATION_NUMBER_INVALID
    ├── Unauthorized            UNAUTHORIZED
    ├── Denied                  DENIED
    ├── Unsupported             UNSUPPORTED
    ├── TooManyRequests         TOOMANYREQUESTS
    ├── Unavailable             UNAVAILABLE
    │   ├── StoreFull               the disk or the quota behind the store is exhausted
    │   ├── ConnectionLost          a remote could not be reached, or broke off; try again
    │   ├── HostUnknown             a remote's name cannot be resolved
    │   └── CertificateRefused      a remote's certificate, or ours, is not accepted
    └── ContentInvalid          CONTENT_INVALID
            an archive or layer, though whole, is not what it says, or would do harm

Source: distribution-spec, "Error Codes" (code-1 … code-14); codes it lacks are distribution's.
"""

from collections.abc import Mapping
from typing import ClassVar


class RegistryError(Exception):
    """A refusal with an OCI error code, a message for people and a detail for programs."""

    code: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, *, detail: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = dict(detail or {})


class BlobUnknown(RegistryError):
    code = "BLOB_UNKNOWN"


class BlobUploadInvalid(RegistryError):
    code = "BLOB_UPLOAD_INVALID"


class UploadOutOfOrder(BlobUploadInvalid):
    """A chunk that does not start where the upload ends; `offset` is where it must start."""

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message, detail={"offset": offset})
        self.offset = offset


class UploadBusy(BlobUploadInvalid):
    """Another request holds the upload; retry when it has ended."""


class BlobUploadUnknown(RegistryError):
    code = "BLOB_UPLOAD_UNKNOWN"


class DigestInvalid(RegistryError):
    code = "DIGEST_INVALID"


class ManifestBlobUnknown(RegistryError):
    code = "MANIFEST_BLOB_UNKNOWN"


class ManifestInvalid(RegistryError):
    code = "MANIFEST_INVALID"


class ManifestTooLarge(ManifestInvalid):
    """The manifest is above the configured limit (4 MiB unless told otherwise)."""


class ManifestUnknown(RegistryError):
    code = "MANIFEST_UNKNOWN"


class NameInvalid(RegistryError):
    code = "NAME_INVALID"


class NameUnknown(RegistryError):
    code = "NAME_UNKNOWN"


class TagInvalid(RegistryError):
    code = "TAG_INVALID"


class TooManyTags(TagInvalid):
    """The URI names more tags than one push may set; the spec's answer to that is 414."""


class SizeInvalid(RegistryError):
    code = "SIZE_INVALID"


class RangeInvalid(RegistryError):
    """No requested byte exists; `size` is the content's length in bytes."""

    code = "RANGE_INVALID"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message, detail={"size": size})
        self.size = size


class PaginationNumberInvalid(RegistryError):
    code = "PAGINATION_NUMBER_INVALID"


class Unauthorized(RegistryError):
    """A login is missing or wrong. Where it is ours to ask for one, `challenge` says how: the value
    of WWW-Authenticate."""

    code = "UNAUTHORIZED"

    def __init__(
        self, message: str, *, detail: Mapping[str, object] | None = None, challenge: str = ""
    ) -> None:
        super().__init__(message, detail=detail)
        self.challenge = challenge


class Denied(RegistryError):
    code = "DENIED"


class Unsupported(RegistryError):
    code = "UNSUPPORTED"


class TooManyRequests(RegistryError):
    code = "TOOMANYREQUESTS"


class Unavailable(RegistryError):
    """The server cannot do this now; the same request may succeed later."""

    code = "UNAVAILABLE"


class StoreFull(Unavailable):
    """No space (or quota) is left where content is stored; nothing of the write remains."""


class ConnectionLost(Unavailable):
    """A remote could not be reached, broke off, or stood still; the same may work again."""


class HostUnknown(Unavailable):
    """A remote's name, or its proxy's, cannot be resolved: mistyped, or there is no DNS."""


class CertificateRefused(Unavailable):
    """TLS was not agreed on: a certificate is unknown, expired or for another name."""


class ContentInvalid(RegistryError):
    """An archive, layout or layer that is whole but not what it says it is, or that would
    write outside its place."""

    code = "CONTENT_INVALID"
