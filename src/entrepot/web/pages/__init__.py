"""Pages for people: what this server is, and how to use it."""
