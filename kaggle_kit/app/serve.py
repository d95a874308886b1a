"""Start the page on this machine."""

import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kaggle_kit.app.album import Album
from kaggle_kit.backends.uploads import MAX_MB
from kaggle_kit.errors import KitError
from kaggle_kit.storage.manifest import verify

PORT = 8501
# What the page is run with, here and where it is deployed: no word to anybody of how it
# is used, and no file larger than one that is looked at.
OPTIONS: dict[str, Any] = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": MAX_MB,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
}


def serve(bundle: Path, port: int, photos: Path | None) -> dict[str, Any]:
    """Show the page at ``http://localhost:PORT`` until it is interrupted.

    Raises:
        KitError: Streamlit is missing, or the port is taken.
        ArtefactError: a file of the bundle is not as its manifest says.
        DataError: ``photos`` is no competition folder.
    """
    _require("streamlit", "Streamlit")
    _require("ai_edge_litert", "LiteRT")
    verify(bundle)
    Album(bundle, photos)
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
    arguments = [str(path.resolve()) for path in (bundle, photos) if path]
    bootstrap.load_config_options(flags)
    script = Path(__file__).with_name("main.py")
    bootstrap.run(str(script), False, arguments, flags)
    return {"stopped": True}


def _require(package: str, name: str) -> None:
    if find_spec(package) is None:
        raise KitError(
            f"app: expected {name}, found none; pip install 'kaggle-kit[app]'"
        )
