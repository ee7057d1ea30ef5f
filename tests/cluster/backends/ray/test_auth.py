"""The token: made for its owner alone, and asked for in one line when it is missing or wrong.

The head is a stand-in that speaks the first call of Ray's protocol.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from cluster.backends.ray import auth
from envs.errors import InvalidInputError

TOKEN = "0123456789abcdef"


class Head(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers GetClusterId to callers with the right token, or to all where there is none."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def service(self, call: Any) -> Any:
        if call.method != "/ray.rpc.NodeInfoGcsService/GetClusterId":
            return None

        def answer(request: bytes, context: Any) -> bytes:
            if self._token is not None and dict(context.invocation_metadata()).get("authorization") != f"Bearer {self._token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: Authentication token is missing or incorrect")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def head() -> Iterator[Callable[[str | None], str]]:
    servers = []

    def start(token: str | None) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(1), handlers=(Head(token),))
        servers.append(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(grace=None).wait()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "unset")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_token(home: Path, token: str, mode: int) -> Path:
    path = home / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text(token)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_cluster_of_our_own_gets_a_token_that_its_owner_alone_can_read(home: Path) -> None:
    auth.prepare_own_cluster(insecure=False)
    path = home / ".ray" / "auth_token"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert mode_of(path) == 0o600
    assert len(path.read_text()) == 64
    before = path.read_text()
    auth.prepare_own_cluster(insecure=False)
    assert path.read_text() == before
    assert os.listdir(path.parent) == ["auth_token"]


def test_a_token_file_that_others_can_read_is_restricted_with_one_warning(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_token(home, TOKEN, 0o644)
    with caplog.at_level(logging.WARNING, logger="metaray"):
        auth.prepare_own_cluster(insecure=False)
        auth.prepare_own_cluster(insecure=False)
    assert mode_of(path) == 0o600
    assert [str(path) in line for line in caplog.messages] == [True]


def test_without_authentication_no_token_is_made(home: Path) -> None:
    auth.prepare_own_cluster(insecure=True)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert not (home / ".ray").exists()


def test_where_no_file_can_be_written_the_token_stays_in_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ray").write_text("in the way")
    auth.prepare_own_cluster(insecure=False)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.delenv("RAY_AUTH_TOKEN")


def test_an_empty_token_file_is_refused(home: Path) -> None:
    write_token(home, "\n", 0o600)
    with pytest.raises(InvalidInputError, match="is empty"):
        auth.prepare_own_cluster(insecure=False)


def test_attaching_with_the_right_token(head: Callable[[str | None], str], home: Path) -> None:
    path = write_token(home, TOKEN + "\n", 0o644)
    auth.prepare_attaching(head(TOKEN), insecure=False)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert mode_of(path) == 0o600


def test_attaching_without_a_token_is_one_line(head: Callable[[str | None], str], home: Path) -> None:
    address = head(TOKEN)
    with pytest.raises(InvalidInputError, match="asks for a token and there is none here") as caught:
        auth.prepare_attaching(address, insecure=False)
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (home / ".ray").exists()


def test_attaching_with_a_wrong_token_names_where_it_came_from(
    head: Callable[[str | None], str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_token(home, "wrong", 0o600)
    address = head(TOKEN)
    with pytest.raises(InvalidInputError, match=f"does not accept the token of {path}"):
        auth.prepare_attaching(address, insecure=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong too")
    with pytest.raises(InvalidInputError, match="does not accept the token of RAY_AUTH_TOKEN"):
        auth.prepare_attaching(address, insecure=False)


def test_a_cluster_without_authentication_is_attached_to_and_mentioned(
    head: Callable[[str | None], str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="metaray"):
        auth.prepare_attaching(head(None), insecure=False)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "without token authentication" in caplog.text


def test_no_authentication_is_refused_where_the_cluster_asks_for_it(head: Callable[[str | None], str]) -> None:
    with pytest.raises(InvalidInputError, match="leave out --insecure"):
        auth.prepare_attaching(head(TOKEN), insecure=True)


@pytest.fixture
def web_server() -> Iterator[str]:
    """Answers every HTTP/2 request with 404, as a gateway does that stands where a head was expected."""
    settings, headers = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"\x00\x00\x01\x01\x05\x00\x00\x00\x01"
    not_found = b"\x8d"  # `:status: 404` of HPACK's static table

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            connection.sendall(settings)
            received = b""
            while b"GetClusterId" not in received:
                received += connection.recv(65536)
            connection.sendall(headers + not_found)
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    thread.join(5)


def test_a_web_server_is_not_taken_for_another_version_of_ray(web_server: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{web_server} does not answer as a Ray head"):
        auth.prepare_attaching(web_server, insecure=False)


def test_what_is_not_ray_is_named(head: Callable[[str | None], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "ANSWER_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(InvalidInputError, match=f"{address} does not answer as a Ray head"):
            auth.prepare_attaching(address, insecure=False)
