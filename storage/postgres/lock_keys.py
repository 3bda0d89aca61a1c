"""The keys of Postgres's advisory locks."""

import hashlib


def key_of(name: str) -> int:
    """Return a name's key: 64 bits of its SHA-256."""
    digest = hashlib.sha256(f"twobrain {name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], signed=True)
