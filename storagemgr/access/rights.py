"""What there is to permit: libvirt's own ACL verbs for pools and volumes, and the roles made of them."""

POOL_RIGHTS = {
    "pool.view": "see the pool and its volumes",
    "pool.refresh": "refresh",
    "pool.start": "start, and start with the host",
    "pool.stop": "stop",
    "pool.build": "build",
    "pool.define": "define and undefine",
    "pool.delete": "delete the storage",
    "volume.create": "create and clone volumes",
    "volume.delete": "delete volumes, with time to undo it",
    "volume.delete-now": "delete volumes at once",
    "volume.resize": "resize volumes",
    "volume.wipe": "wipe volumes",
    "volume.data-read": "download volumes",
    "volume.data-write": "upload and import volumes",
    "pool.note": "write notes, owners and dates on the pool and its volumes, and protect them",
    "pool.unprotect": "take protection away",
}
OTHER_RIGHTS = {
    "host.manage": "add and change hosts",
    "access.manage": "make people and teams, and grant roles",
    "audit.read": "read the audit",
}
RIGHTS = POOL_RIGHTS | OTHER_RIGHTS

_OPERATOR = {
    "pool.view",
    "pool.refresh",
    "pool.start",
    "pool.stop",
    "volume.create",
    "volume.delete",
    "volume.resize",
    "volume.data-read",
    "volume.data-write",
    "pool.note",
}
ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({"pool.view"}),
    "operator": frozenset(_OPERATOR),
    "manager": frozenset(POOL_RIGHTS),
    "administrator": frozenset(RIGHTS),
}


def roles_with(right: str) -> list[str]:
    """The names of the built-in roles that hold `right`, least powerful first."""
    return [name for name, rights in ROLES.items() if right in rights]
