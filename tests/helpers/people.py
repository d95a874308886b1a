"""Simulated users of the page, by Streamlit's protocol instead of a browser."""

import re

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

TIMEOUT_S = 120


class Person:
    """A user with an open page, who uploads images and reads the answers."""

    def __init__(self, url: str):
        self.url = url
        self.http = requests.Session()
        self.http.get(f"{url}/_stcore/health", timeout=TIMEOUT_S).raise_for_status()
        self.socket = connect(
            f"{url.replace('http', 'ws', 1)}/_stcore/stream",
            subprotocols=["streamlit"],
            max_size=None,
            open_timeout=TIMEOUT_S,
        )
        self.session = self.uploader = ""
        self.delete_url = ""
        self._run_page({})

    def upload(self, name: str, data: bytes) -> list[str]:
        """Upload an image in place of the last one, and return all texts of the page."""
        urls = self._request_urls(name)
        response = self.http.put(
            self.url + urls.upload_url,
            files={"file": (name, data, "image/jpeg")},
            headers={"X-Xsrftoken": self.http.cookies.get("_streamlit_xsrf", "")},
            timeout=TIMEOUT_S,
        )
        response.raise_for_status()
        texts = self._run_page({"name": name, "size": len(data), "urls": urls})
        if self.delete_url:
            self._delete(self.delete_url)
        self.delete_url = urls.delete_url
        return texts

    def leave(self) -> None:
        """Close the page."""
        self.socket.close()
        self.http.close()

    def _request_urls(self, name: str):
        """The URLs for uploading a file and deleting it."""
        message = BackMsg()
        message.file_urls_request.request_id = name
        message.file_urls_request.file_names.append(name)
        message.file_urls_request.session_id = self.session
        self.socket.send(message.SerializeToString())
        while True:
            reply = self._receive()
            if reply.WhichOneof("type") == "file_urls_response":
                (urls,) = reply.file_urls_response.file_urls
                return urls

    def _delete(self, path: str) -> None:
        headers = {"X-Xsrftoken": self.http.cookies.get("_streamlit_xsrf", "")}
        self.http.delete(self.url + path, headers=headers, timeout=TIMEOUT_S)

    def _receive(self) -> ForwardMsg:
        return ForwardMsg.FromString(self.socket.recv(timeout=TIMEOUT_S))

    def _run_page(self, file: dict) -> list[str]:
        """Run the page with a file in its uploader; return its texts, top to bottom."""
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
            reply = self._receive()
            kind = reply.WhichOneof("type")
            if kind == "new_session":
                self.session = reply.new_session.initialize.session_id
                texts = []
            elif kind == "delta" and reply.delta.HasField("new_element"):
                element = reply.delta.new_element
                self.uploader = element.file_uploader.id or self.uploader
                texts += _read_texts(element)
            elif kind == "script_finished" and reply.script_finished == 0:
                return texts


def _read_texts(element) -> list[str]:
    kind = element.WhichOneof("type")
    value = getattr(element, kind)
    if kind == "exception":
        raise AssertionError(value)
    return [value.body] if kind in ("markdown", "heading", "alert") else []


def find_numbers(texts: list[str]) -> str:
    """The line with the numbers of the answer, without its time."""
    (line,) = (text for text in texts if text.startswith("C of your image"))
    return re.sub(r" It took .*", "", line)


def visit(url: str, images: list[tuple[str, bytes]]) -> list[list[str]]:
    """Open the page, upload one image after the other, and return the texts for each."""
    person = Person(url)
    try:
        return [person.upload(name, data) for name, data in images]
    finally:
        person.leave()
