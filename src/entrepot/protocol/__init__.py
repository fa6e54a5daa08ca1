"""How the OCI distribution-spec moves content, sans-IO, for both sides: text and values in,
values and text out.

No sockets, no clock, no randomness, no stores: what depends on those is an argument.
Source: distribution-spec; RFC 9110 where the spec leans on HTTP.
"""
