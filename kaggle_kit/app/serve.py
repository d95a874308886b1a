"""Serve the page on this machine."""

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kaggle_kit.app.album import Album
from kaggle_kit.backends.uploads import MAX_MB
from kaggle_kit.errors import KitError
from kaggle_kit.storage.manifest import verify

PORT = 8501
# Streamlit's options, here and where the page is deployed: no usage statistics, and no
# upload that the app would refuse for its size.
OPTIONS: dict[str, Any] = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": MAX_MB,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
}


@dataclass(frozen=True)
class ServeResult:
    """The result of ``serve``, which ends only when it is interrupted."""

    stopped: bool = True


def serve(bundle: Path, port: int, images: Path | None) -> ServeResult:
    """Serve the page at ``http://localhost:PORT`` until it is interrupted.

    Args:
        images: as for ``Album``.

    Raises:
        KitError: Streamlit or LiteRT is missing, or the port is in use.
        ArtefactError: a file of the bundle does not match its manifest.
        DataError: ``--photos`` is no competition folder.
    """
    _require_package("streamlit", "Streamlit")
    _require_package("ai_edge_litert", "LiteRT")
    verify(bundle)
    Album(bundle, images)  # for its errors
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("localhost", port))
        except OSError as error:
            raise KitError(
                f"--port {port}: expected a free port, got {error.strerror}; choose "
                f"another"
            ) from None
    from streamlit.web import bootstrap

    options = OPTIONS | {"server.port": port, "server.address": "localhost"}
    flags = {name.replace(".", "_"): value for name, value in options.items()}
    arguments = [str(path.resolve()) for path in (bundle, images) if path]
    bootstrap.load_config_options(flags)
    script = Path(__file__).with_name("main.py")
    bootstrap.run(str(script), False, arguments, flags)
    return ServeResult()


def _require_package(package: str, name: str) -> None:
    if find_spec(package) is None:
        raise KitError(
            f"app: expected {name}, found none; install it with pip install "
            f"'kaggle-kit[app]'"
        )
