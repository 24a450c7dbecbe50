"""A pool of redis-py's that leads where a Valkey GLIDE client does."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import ConnectionPool


def pool_of(client: Any) -> "ConnectionPool | None":
    """A pool to the first address of *client*; None if that is no GlideClient.

    Also None where GLIDE signs in or verifies in a way that redis-py does not know.
    """
    # No client can be of a module that is not imported.
    kind = getattr(sys.modules.get("glide_sync"), "GlideClient", None)
    if not isinstance(kind, type) or not isinstance(client, kind):
        return None
    from redis import ConnectionPool, SSLConnection, UnixDomainSocketConnection

    config = getattr(client, "_config", None)
    addresses = getattr(config, "addresses", None)
    if not addresses or getattr(config, "address_resolver", None) is not None:
        return None
    settings: dict[str, Any] = {"db": getattr(config, "database_id", None) or 0}
    credentials = getattr(config, "credentials", None)
    if credentials is not None:
        if getattr(credentials, "iam_config", None) is not None:
            return None
        settings["username"] = credentials.username
        settings["password"] = credentials.password
    path = getattr(addresses[0], "unix_socket_path", None)
    if path:
        return ConnectionPool(UnixDomainSocketConnection, path=str(path), **settings)
    settings.update(host=addresses[0].host, port=addresses[0].port)
    if not getattr(config, "use_tls", False):
        return ConnectionPool(**settings)
    tls = getattr(getattr(config, "advanced_config", None), "tls_config", None)
    if getattr(tls, "client_cert_pem", None) or getattr(tls, "client_cert_path", None):
        # redis-py takes certificates of a client as files, GLIDE has their bytes.
        return None
    if getattr(tls, "use_insecure_tls", False):
        settings.update(ssl_cert_reqs="none", ssl_check_hostname=False)
    elif getattr(tls, "root_pem_cacerts", None):
        settings["ssl_ca_data"] = bytes(tls.root_pem_cacerts).decode()  # type: ignore[union-attr]
    return ConnectionPool(connection_class=SSLConnection, **settings)
