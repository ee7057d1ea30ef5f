"""Checkpoints: atomic, checked, and the newest valid one wins."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cluster.store import checkpoint
from cluster.store.checkpoint import CorruptCheckpointError, load_newest, newest_step, parameters_sha256, read, save, saved
from envs.errors import InvalidInputError

PAYLOAD = {"learner": {"weight": np.arange(1000.0), "step": 7}, "rng": 2**127 + 1}


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints", 123, PAYLOAD)
    found = load_newest(tmp_path / "checkpoints", pytest.fail)
    assert path == saved(tmp_path / "checkpoints")[-1]
    assert (found.step, found.payload["rng"]) == (123, 2**127 + 1)
    np.testing.assert_array_equal(found.payload["learner"]["weight"], PAYLOAD["learner"]["weight"])


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 1000, 20):
        save(tmp_path, step, {"step": step}, keep=2)
    # 20 was written last, but 10 and 5 are the older steps and went first
    assert [path.name for path in saved(tmp_path)] == ["000000000000020", "000000000001000"]
    assert newest_step(tmp_path) == 1000


def test_a_second_checkpoint_at_the_same_step_is_the_newer_one(tmp_path: Path) -> None:
    for index in range(12):
        save(tmp_path, 5, {"index": index}, keep=3)
    assert load_newest(tmp_path, pytest.fail).payload == {"index": 11}
    assert len(saved(tmp_path)) == 3


def corruptions(path: Path) -> list[tuple[Path, bytes | None]]:
    """(file, new content or None for a missing one): each makes a checkpoint invalid."""
    cases: list[tuple[Path, bytes | None]] = []
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 0x10
        cases += [(file, None), (file, b""), (file, data[:-1])]
        if file.name != checkpoint.MANIFEST:  # a changed version number in the manifest does no harm
            cases.append((file, bytes(flipped)))
    return cases


def test_damage_of_any_type_falls_back_to_the_previous_one_with_one_line(tmp_path: Path) -> None:
    save(tmp_path, 1, {"step": 1})
    newest = save(tmp_path, 2, PAYLOAD)
    for file, content in corruptions(newest):
        before = file.read_bytes()
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        lines: list[str] = []
        assert load_newest(tmp_path, lines.append).step == 1, file
        assert len(lines) == 1
        assert newest.name in lines[0]
        file.write_bytes(before)
    assert load_newest(tmp_path, pytest.fail).step == 2


def test_a_renamed_or_newer_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 2, PAYLOAD)
    moved = path.rename(tmp_path / "000000000000003")
    with pytest.raises(CorruptCheckpointError, match="of step 2"):
        read(moved)
    path = save(tmp_path, 4, PAYLOAD)
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(CorruptCheckpointError, match="format 99"):
        read(path)


def test_none_or_none_valid_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no checkpoint in"):
        load_newest(tmp_path / "nothing", pytest.fail)
    path = save(tmp_path, 2, PAYLOAD)
    (path / checkpoint.TENSORS).unlink()
    with pytest.raises(InvalidInputError, match=r"no valid checkpoint in .*000000000000002"):
        load_newest(tmp_path, pytest.fail)


SAVE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from cluster.store.checkpoint import newest_step, save
directory = Path(sys.argv[1])
step = newest_step(directory)
while True:
    step += 1
    save(directory, step, {"weight": np.full(200_000, step), "step": step}, keep=3)
    print(step, flush=True)
"""


def test_killed_in_the_middle_of_saving_the_newest_finished_one_is_whole(tmp_path: Path) -> None:
    directory, rng = tmp_path / "checkpoints", np.random.default_rng(0)
    kills_within_a_save = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, str(directory)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            last = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.03))
            os.kill(process.pid, signal.SIGKILL)
            last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
        kills_within_a_save += bool(list(directory.glob(".tmp-*")))
        found = load_newest(directory, pytest.fail)
        assert found.step in (last, last + 1)  # the rename may have been the last thing it did
        np.testing.assert_array_equal(found.payload["weight"], np.full(200_000, found.step))
    assert kills_within_a_save > 0, "no kill hit a save: this test showed nothing"
    save(directory, 10**6, {})
    assert not list(directory.glob(".tmp-*")), "what killed saves left behind is still there"


def test_the_digest_of_parameters_sees_every_change_and_no_order() -> None:
    base = {"a": np.zeros(4, np.float32), "b": np.ones((2, 3), np.float32)}
    digest = parameters_sha256(base)
    assert digest == parameters_sha256(dict(reversed(base.items())))
    ulp = base["b"].copy()
    ulp[1, 2] = np.nextafter(ulp[1, 2], np.float32(2))
    changed = [
        {**base, "b": ulp},
        {**base, "b": base["b"].reshape(3, 2)},
        {**base, "a": base["a"].view(np.int32)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    assert len({digest, *map(parameters_sha256, changed)}) == 6
