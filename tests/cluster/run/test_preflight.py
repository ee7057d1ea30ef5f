"""What is refused before any process starts."""

import socket
from pathlib import Path

import pytest

from cluster.algorithms import config_of, find_preset
from cluster.run import preflight
from envs.errors import InvalidInputError


def test_ray_that_is_not_installed_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r"Ray is not installed: add --local .*pip install 'metaray\[ray\]'"):
        preflight.check_ray(None)


@pytest.mark.parametrize(
    "address", ["nonsense", "host:", ":6379", "host:99999", "host:0", "a b:6379", "http://host:1/x", "1:2:3"]
)
def test_an_ill_formed_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInputError, match="is not one: expected host:port"):
        preflight.check_ray(address)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_the_sockets_of_ray_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    preflight.check_ray(None)
    monkeypatch.setenv(variable, "/" + 38 * "x")
    preflight.check_ray("local")
    monkeypatch.setenv(variable, "/" + 60 * "x")
    with pytest.raises(
        InvalidInputError, match=f"Ray cannot start below /{60 * 'x'}.*have 129 bytes.*takes 107.*at most 39 bytes"
    ):
        preflight.check_ray(None)


def test_an_address_of_ray_client_says_what_to_do_instead() -> None:
    with pytest.raises(InvalidInputError, match=r"is the address of Ray Client.*--ray auto"):
        preflight.check_ray("ray://127.0.0.1:10001")


def test_an_address_without_a_listener_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused, and nobody else can take the port
        with pytest.raises(InvalidInputError, match=r"no Ray cluster answers at 127.0.0.1:.*refused"):
            preflight.check_ray(f"127.0.0.1:{taken.getsockname()[1]}")


def test_an_address_where_someone_listens_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        preflight.check_ray(f"127.0.0.1:{server.getsockname()[1]}")
    preflight.check_ray("local")
    preflight.check_ray(None)


def test_auto_finds_the_cluster_of_this_machine_or_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(InvalidInputError, match="'auto': no Ray cluster runs on this machine"):
        preflight.check_ray("auto")
    with socket.create_server(("127.0.0.1", 0)) as server:
        note.write_text(f"127.0.0.1:{server.getsockname()[1]}\n")
        preflight.check_ray("auto")
        monkeypatch.delenv("RAY_TMPDIR")
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # as batch systems set it
        preflight.check_ray("auto")


def test_ray_looks_for_that_note_in_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs Ray to compare with")
    from ray._common.utils import get_ray_address_file

    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
        note = Path(get_ray_address_file(None))
        note.parent.mkdir(exist_ok=True)
        note.write_text("10.0.0.1:6379\n")
        assert preflight.cluster_on_this_machine() == "10.0.0.1:6379"
        note.unlink()
        monkeypatch.delenv(name)


def test_the_typed_address_goes_before_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert preflight.ray_address("") is None
    monkeypatch.setenv("RAY_ADDRESS", "a:1")
    assert preflight.ray_address("") == "a:1"
    assert preflight.ray_address("b:2") == "b:2"


def test_a_network_that_does_not_fit_is_refused() -> None:
    from cluster.overrides import apply

    row, preset = find_preset("cartpole")
    config = config_of(preset, row)
    row.workload(config).preflight(is_local=True)
    with pytest.raises(InvalidInputError, match="torso shallow needs images"):
        row.workload(apply(config, {"network.torso": "shallow"})).preflight(is_local=True)
