"""The `/v2` API of the OCI distribution-spec, one file per noun."""
