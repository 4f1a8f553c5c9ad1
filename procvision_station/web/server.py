"""The page's process: its socket, TLS, accounts and journal, until a signal ends it or the line's process is gone."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from procvision_sdk.errors import ProcVisionError
from procvision_station.companions import PAGE_IS_NICER, end_with, give_way
from procvision_station.configuration.model import WebSection
from procvision_station.configuration.page import PageConfiguration, is_loopback

GRACE_S = 2
"""For requests on their way when the page ends; streams of events are cut."""
BACKLOG = 500
"""Connections that wait to be taken."""


class PageError(ProcVisionError):
    """The page can't be served."""


def names_of(settings: WebSection) -> tuple[str, ...]:
    """Return the names that the page is asked for; none for any."""
    if settings.names:
        return tuple(name.lower() for name in settings.names)
    return ("127.0.0.1", "localhost", "[::1]", settings.host) if is_loopback(settings.host) else ()


def bound_socket(settings: WebSection) -> socket.socket:
    """Return the listening socket. Raises PageError."""
    listener = None
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(*found[:3])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(BACKLOG)  # before the address is told
    except OSError as error:
        if listener is not None:
            listener.close()
        raise PageError(
            f"web.port: {settings.host}:{settings.port} can't be listened on: {error.strerror or error}\n"
            "hint: another port in the table [web] of station.toml; 0 takes a free one"
        ) from error
    listener.set_inheritable(False)
    return listener


def tls_context(folder: Path, settings: WebSection) -> ssl.SSLContext | None:
    """Return what a connection is encrypted by; None for plain HTTP. Raises PageError."""
    if settings.certificate is None or settings.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(folder / settings.certificate, folder / settings.key)
    except (OSError, ssl.SSLError) as error:
        raise PageError(
            f"web.certificate: {settings.certificate} and {settings.key} can't be used: {error}\n"
            "hint: PEM files; the certificate with those between it and its root, the key without a password"
        ) from error
    return context


def serve_page(configuration: PageConfiguration, tell: Callable[[str], None], parent: int | None = None) -> None:
    """Serve a station's page until SIGTERM or Ctrl-C, or until the process `parent` is gone.

    Raises PageError, `MissingExtraError` and OSError.
    """
    from procvision_tools.extras import need

    uvicorn = need("uvicorn", "uvicorn", "the station's page", "station")
    need("litestar", "litestar", "the station's page", "station")
    need("sqlalchemy", "SQLAlchemy", "the station's page", "station")
    from procvision_station.projection.database import Database
    from procvision_station.projection.queries import ReadModel
    from procvision_station.web.accounts import WEB_FOLDER, Accounts
    from procvision_station.web.app import Page, served
    from procvision_station.web.connections import MAX_CONNECTIONS, bounded
    from procvision_station.web.doors import Doors

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="page: %(levelname)s: %(message)s")
    folder, settings, data = configuration.folder, configuration.web, configuration.data_folder
    give_way(PAGE_IS_NICER)
    tls = tls_context(folder, settings)
    listener = bound_socket(settings)
    accounts = Accounts(data / WEB_FOLDER, idle_s=settings.idle_minutes * 60, absolute_s=settings.session_hours * 3600)
    try:
        first = accounts.first_password()
        database = Database(configuration.projection.database, data)
        model = ReadModel(database, configuration.shifts)
        app = served(Page(accounts, Doors(accounts, names_of(settings)), model, configuration))
        config = uvicorn.Config(
            app,
            http=bounded(proxies=bool(settings.proxies)),
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=folder / settings.certificate if tls and settings.certificate else None,
            ssl_keyfile=folder / settings.key if tls and settings.key else None,
            ws="none",
        )
        server = uvicorn.Server(config)
        if parent is not None:
            gone = threading.Event()
            end_with(parent, gone)
            threading.Thread(target=_end_after, args=(gone, server), daemon=True).start()
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        tell(f"page: {'https' if tls else 'http'}://{name}:{listener.getsockname()[1]}/")
        if first is not None:
            tell(f"page: sign in as {first[0]} with the one-time password {first[1]}")
        server.run(sockets=[listener])
    finally:
        listener.close()
        accounts.close()


def _end_after(gone: threading.Event, server: Any) -> None:
    """End the page when the line's process has ended: what it shows would look alive."""
    gone.wait()
    server.should_exit = True
