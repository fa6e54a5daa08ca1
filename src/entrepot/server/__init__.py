"""The server: bytes on sockets to `Request`, `Response` to bytes on sockets.

HTTP/1.1 is parsed by httptools (llhttp), HTTP/2 by h2; event loop and TLS are uvloop's. What
is ours is how bytes move: request bodies reach their handler with back-pressure and without
copies by the parser, files leave by sendfile(2). It knows no route and no store.
"""
