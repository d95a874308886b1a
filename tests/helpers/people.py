"""People who use the page, without the weight of a browser: Streamlit's own protocol."""

import re

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

PATIENCE_S = 120


class Person:
    """One with the page open, who sends a photo and reads what comes."""

    def __init__(self, url: str):
        self.url = url
        self.http = requests.Session()
        self.http.get(f"{url}/_stcore/health", timeout=PATIENCE_S).raise_for_status()
        self.socket = connect(
            f"{url.replace('http', 'ws', 1)}/_stcore/stream",
            subprotocols=["streamlit"],
            max_size=None,
            open_timeout=PATIENCE_S,
        )
        self.session = self.uploader = ""
        self.delete_url = ""
        self._shown({})

    def ask(self, name: str, data: bytes) -> list[str]:
        """Put a photo in the place of the last one; all texts of the page."""
        urls = self._place_for(name)
        sent = self.http.put(
            self.url + urls.upload_url,
            files={"file": (name, data, "image/jpeg")},
            headers={"X-Xsrftoken": self.http.cookies.get("_streamlit_xsrf", "")},
            timeout=PATIENCE_S,
        )
        sent.raise_for_status()
        shown = self._shown({"name": name, "size": len(data), "urls": urls})
        if self.delete_url:
            self._delete(self.delete_url)
        self.delete_url = urls.delete_url
        return shown

    def leave(self) -> None:
        """Close the page."""
        self.socket.close()
        self.http.close()

    def _place_for(self, name: str):
        message = BackMsg()
        message.file_urls_request.request_id = name
        message.file_urls_request.file_names.append(name)
        message.file_urls_request.session_id = self.session
        self.socket.send(message.SerializeToString())
        while True:
            found = self._next()
            if found.WhichOneof("type") == "file_urls_response":
                (urls,) = found.file_urls_response.file_urls
                return urls

    def _delete(self, path: str) -> None:
        headers = {"X-Xsrftoken": self.http.cookies.get("_streamlit_xsrf", "")}
        self.http.delete(self.url + path, headers=headers, timeout=PATIENCE_S)

    def _next(self) -> ForwardMsg:
        return ForwardMsg.FromString(self.socket.recv(timeout=PATIENCE_S))

    def _shown(self, file: dict) -> list[str]:
        """Have the page run, with a file in its uploader; its texts, from top to bottom."""
        message = BackMsg()
        message.rerun_script.query_string = ""
        if file:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = self.uploader
            info = state.file_uploader_state_value.uploaded_file_info.add()
            info.name, info.size = file["name"], file["size"]
            info.file_id = file["urls"].file_id
            info.file_urls.CopyFrom(file["urls"])
        self.socket.send(message.SerializeToString())
        texts: list[str] = []
        while True:
            found = self._next()
            kind = found.WhichOneof("type")
            if kind == "new_session":
                self.session = found.new_session.initialize.session_id
                texts = []
            elif kind == "delta" and found.delta.HasField("new_element"):
                element = found.delta.new_element
                self.uploader = element.file_uploader.id or self.uploader
                texts += _texts(element)
            elif kind == "script_finished" and found.script_finished == 0:
                return texts


def _texts(element) -> list[str]:
    kind = element.WhichOneof("type")
    value = getattr(element, kind)
    if kind == "exception":
        raise AssertionError(value)
    return [value.body] if kind in ("markdown", "heading", "alert") else []


def confidence(texts: list[str]) -> str:
    """The line with the numbers of the answer."""
    (line,) = (text for text in texts if text.startswith("C of your photo"))
    return re.sub(r" It took .*", "", line)


def visit(url: str, photos: list[tuple[str, bytes]]) -> list[list[str]]:
    """Come, ask for one photo after the other, and leave; what was shown for each."""
    person = Person(url)
    try:
        return [person.ask(name, data) for name, data in photos]
    finally:
        person.leave()
