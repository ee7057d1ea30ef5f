"""Ray's token authentication: the mode of this process, the place of its token, and whether a cluster accepts it.

Ray 2.60 reads RAY_AUTH_MODE once, when it is first imported; with a wrong token `ray.init` tries for 20 s and then names no reason; and the
token file that it writes itself is readable by everyone. So all of it is settled here, before Ray is imported:

    a cluster of our own     token, the file made with mode 0600 where there is none; `insecure` turns it off
    a cluster to attach to   what the cluster requires, found out by one call to its head, with and without the token

The call is `GetClusterId`, the first that any Ray process makes, sent as raw gRPC.

Reference: Ray 2.60, "Token authentication" (docs.ray.io, ray-security/token-auth).
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path

from envs.errors import InvalidInputError

log = logging.getLogger("metaray")

ANSWER_TIMEOUT_S = 10.0
"""A head answers in milliseconds; a busy one may take seconds."""

_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_SOURCES = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"


def token_file() -> Path:
    """The file in which Ray looks for the token when RAY_AUTH_TOKEN is not set."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).absolute() if named else Path.home() / ".ray" / "auth_token"


def token() -> str | None:
    """The token that Ray will find, or None.

    Raises:
        InvalidInputError: the file is there and cannot be read, or is empty.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"].strip()
    path = token_file()
    try:
        found = path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInputError(f"the Ray token file {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not found:
        raise InvalidInputError(f"the Ray token file {path} is empty: write the cluster's token to it, or remove it")
    return found


def prepare_own_cluster(*, insecure: bool) -> None:
    """Set the mode for a cluster that this process is about to start, and make sure of its token."""
    os.environ["RAY_AUTH_MODE"] = "disabled" if insecure else "token"
    if insecure or os.environ.get("RAY_AUTH_TOKEN"):
        return
    if token() is None:
        _make_token()
    _tighten(token_file())


def prepare_attaching(address: str, *, insecure: bool) -> None:
    """Set the mode for the cluster at `address` to what it wants.

    Args:
        address: host:port of its head.
        insecure: without authentication.

    Raises:
        InvalidInputError: there is no answer, it is not Ray, or the token is missing or wrong.
    """
    if _accepts(address, None):
        if not insecure:
            log.warning(
                "the Ray cluster at %s runs without token authentication: anyone who can reach its ports can use it", address
            )
        os.environ["RAY_AUTH_MODE"] = "disabled"
        return
    if insecure:
        raise InvalidInputError(f"the Ray cluster at {address} asks for a token: leave out --insecure")
    found = token()
    if found is None:
        raise InvalidInputError(f"the Ray cluster at {address} asks for a token and there is none here: put it into {_SOURCES}")
    if not _accepts(address, found):
        source = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(token_file())
        raise InvalidInputError(
            f"the Ray cluster at {address} does not accept the token of {source}: put the cluster's own into {_SOURCES}"
        )
    os.environ["RAY_AUTH_MODE"] = "token"
    if not os.environ.get("RAY_AUTH_TOKEN"):
        _tighten(token_file())


def _accepts(address: str, bearer: str | None) -> bool:
    """Whether the head at `address` serves a caller with this token, or with none."""
    import grpc

    metadata = () if bearer is None else (("authorization", f"Bearer {bearer}"),)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_METHOD)(b"", timeout=ANSWER_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.UNAUTHENTICATED:
                return False
            # a Ray of another version does not know the call, and ray.init says so; a web server does not know gRPC
            if code != grpc.StatusCode.UNIMPLEMENTED or "http2 header with status" in (error.details() or ""):
                raise InvalidInputError(
                    f"what listens at {address} does not answer as a Ray head ({code.name.lower()}): "
                    "give the address that `ray start --head` printed, port 6379 by default"
                ) from None
    return True


def _make_token() -> None:
    """Write a new token where Ray looks for it, readable by its owner alone; where that cannot be written, keep it in the environment."""
    path, text = token_file(), secrets.token_hex(32)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        try:
            os.link(temporary, path)  # whole or not at all, and never over a token that another run has just written
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        log.warning(
            "no Ray token file can be written to %s (%s): the token of this run stays in its environment", path, error.strerror
        )
        os.environ["RAY_AUTH_TOKEN"] = text


def _tighten(path: Path) -> None:
    """Make a token file of ours readable by its owner only, with a warning."""
    try:
        status = path.stat()
        if status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) & 0o077:
            path.chmod(0o600)
            log.warning("the Ray token file %s could be read by others; its mode is now 0600", path)
    except OSError:  # kept in the environment, or on a file system without modes
        return
