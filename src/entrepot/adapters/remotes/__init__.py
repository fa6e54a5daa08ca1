"""The registry client: HTTP, authentication and the distribution-spec from the other side."""
