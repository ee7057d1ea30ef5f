"""An evolved loss as a torch module, for custom training loops.

    loss = LearnedLoss.load("runs/point-goal-s0-...")           the file, or the run directory
    history = loss.history()                                    the buffer and the running moments of one lifetime

    action = mean of policy(history.normalised(obs)) + noise;  history.append(obs, action, reward, is_last)
    after every M steps:
        history.take_in()
        for rows in torch.randperm(M).split(32):
            value = loss(history, policy(history.obs), log_std, rows)
            value.backward(); optimiser.step(); optimiser.zero_grad()

`docs/epg.md` has the whole loop around a plain Gymnasium environment. The file is safetensors: phi, and in its metadata the shape of the
loss and the config that it was evolved with: one text, as several would be written in an order that changes from file to file.
Letters: N rows of the buffer, n those that hold a step, M newest rows, B rows of a minibatch, O observation, A action.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes
from torch import Tensor, nn

from envs.errors import InvalidInputError
from learners.learned_loss.buffer import Buffer, Moments
from learners.learned_loss.inner_loop import MEMORY_INPUTS, SMALL
from learners.learned_loss.network import ARCHITECTURES, MEMORY_SIZE, LossShape
from learners.learned_loss.stack import LossStack, static_rows
from learners.networks.spaces import SpaceSpec

FILE_NAME = "loss.safetensors"
FORMAT, OLD_FORMAT = "metaray learned loss 2", "metaray learned loss 1"
EVOLVED = ("algorithm", "family", "lives_per_chunk", "life", "loss")
"""Settings of the run that a file carries; those of an older file are read from the config.json of the run directory that contains it."""

log = logging.getLogger("metaray")


class LearnedLoss(nn.Module):
    """L_phi for one policy; phi is a buffer and not a parameter: an optimiser of the policy must leave it alone.

    Args:
        shape: what it reads.
        phi: [P].
        evolved: what it was evolved for, in JSON types: `family`, `life` and `loss` of the config, `metaray`, the version; empty where
            unknown.
    """

    phi: Tensor

    def __init__(self, shape: LossShape, phi: np.ndarray, evolved: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if phi.shape != (shape.num_parameters,):
            raise InvalidInputError(f"phi has shape {phi.shape}: this loss has {shape.num_parameters} parameters")
        self.shape, self.evolved = shape, dict(evolved or {})
        self.register_buffer("phi", torch.from_numpy(np.array(phi, np.float32)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LearnedLoss:
        """Read an evolved loss; one line is logged where neither the file nor its run directory says what it was evolved for.

        Args:
            path: its file, or a run directory that has one.

        Raises:
            InvalidInputError: there is none, or the file is of something else.
        """
        file = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
        try:
            with safe_open(file, framework="numpy") as stored:
                content = _content(file, stored.metadata() or {})
                evolved = content.get("evolved") or _evolved_of_run(file.parent)
                loss = cls(LossShape(**content["shape"]), stored.get_tensor("phi"), evolved)
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, InvalidInputError):
                raise
            reason = "no such file" if not file.exists() else f"{type(error).__name__}: {error}"
            raise InvalidInputError(f"cannot read the learned loss {file}: {reason}") from None
        if not loss.evolved:
            log.warning(
                "%s does not say the family, inner loop and buffer that its loss was evolved for: an older version wrote it", file
            )
        return loss

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it to `file`, so that a reader sees the old content or the new, never half of it; equal losses give equal bytes."""
        content = {"format": FORMAT, "shape": dataclasses.asdict(self.shape), "evolved": self.evolved}
        target = Path(file)
        temporary = target.with_name(f".{target.name}.tmp")
        with temporary.open("wb") as stream:
            stream.write(to_bytes({"phi": self.phi.cpu().numpy()}, {"learned_loss": json.dumps(content, sort_keys=True)}))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)

    def check(self, spec: SpaceSpec, what: str) -> None:
        """Check that the loss fits these spaces.

        Raises:
            InvalidInputError: it was evolved for others; the line names both.
        """
        size, actions = self.shape.obs_size, _actions(self.shape.is_discrete, self.shape.action_size)
        if spec.obs_shape != (size,):
            raise InvalidInputError(f"the loss reads observations of {size} numbers, those of {what} have shape {spec.obs_shape}")
        given = _actions(spec.is_discrete, spec.num_actions or spec.action_size)
        if given != actions:
            raise InvalidInputError(f"the loss reads {actions}, {what} has {given}")

    def history(self, num_rows: int | None = None) -> History:
        """Return an empty history, by default with the number of rows that the loss was evolved with (512 if unknown)."""
        num_rows = num_rows or int(self.evolved.get("life", {}).get("buffer_rows", 512))
        if num_rows < self.shape.convolutions.shortest_buffer:
            raise InvalidInputError(
                f"num_rows = {num_rows} is out of range: the convolutions need {self.shape.convolutions.shortest_buffer}"
            )
        return History(self.shape, num_rows)

    def forward(
        self, history: History, outputs: Tensor, log_std: Tensor | None, rows: Tensor, memory: Tensor | None = None
    ) -> Tensor:
        """Return the loss on a minibatch, a scalar.

        Args:
            history: of the lifetime, with the newest steps taken in.
            outputs: of the current policy, for `history.obs`, [N, A]: means, or probabilities of discrete actions.
            log_std: of the current policy, [A]; None for discrete actions.
            rows: indices [B] of the newest M steps, the oldest of them being 0.
            memory: output of the lifetime's memory unit, [32]; that of `history` where None.

        Gradient: flows to `outputs`, `log_std`, and through the minibatch's rows alone to `memory`.
        """
        if outputs.shape != (history.num_rows, self.shape.action_size):
            wanted = (history.num_rows, self.shape.action_size)
            raise InvalidInputError(
                f"outputs have shape {tuple(outputs.shape)}: allowed is {wanted}, a row for each of history.obs"
            )
        stack = LossStack(self.shape, self.phi[None].to(outputs.dtype))
        parts = stack.static_parts(history.static[None].to(outputs.dtype), history.num_newest)
        memory = (history.memory if memory is None else memory).to(outputs.dtype)
        context = stack.context(parts, outputs[None], _constant(log_std, memory.detach()))
        newest = outputs[None, -history.num_newest :][:, rows]
        return stack.head(parts, rows[None], newest, _constant(log_std, memory), context).squeeze(0)


class History:
    """The buffer and the running moments of one lifetime.

    Attributes:
        num_rows: N.
        num_newest: M, how many steps the last `take_in` found.
        obs: observations of all rows, normalised, zeros in rows without a step: [N, O].
        static: inputs of the loss from all rows, except the policy's outputs: [N, S].
        memory: output of an untrained memory unit.
    """

    def __init__(self, shape: LossShape, num_rows: int) -> None:
        self.num_rows, self.num_newest = num_rows, 0
        self._shape, self._new = shape, list[tuple[np.ndarray, float, bool]]()
        self._buffer = Buffer(1, num_rows, shape.obs_size, shape.action_size, torch.float32)
        self._moments = Moments(1, shape.obs_size + shape.action_size, torch.float32)
        self.obs = torch.zeros(num_rows, shape.obs_size)
        self.static = torch.zeros(num_rows, shape.static_size)
        weight = torch.randn(MEMORY_SIZE, MEMORY_INPUTS)
        self.memory = (weight / weight.norm(dim=0) * SMALL).sum(dim=1).tanh()

    def normalised(self, obs: Any) -> Tensor:
        """Return one observation, normalised for the policy, [O]."""
        raw = torch.as_tensor(np.asarray(obs), dtype=torch.float32)
        size = self._shape.obs_size
        return (raw - self._moments.mean[0, :size]) * self._moments.inverse_std[0, :size]

    def append(self, obs: Any, action: Any, reward: float, is_last: bool) -> None:
        """Record a step: the raw observation acted on, the action as sampled (or its number), the reward, and whether the episode ended.

        Raises:
            InvalidInputError: they are not those of the spaces that the loss was evolved for.
        """
        shape, obs, action = self._shape, np.asarray(obs), np.asarray(action)
        if obs.shape != (shape.obs_size,):
            raise InvalidInputError(f"an observation has shape {obs.shape}: the loss reads {shape.obs_size} numbers")
        if shape.is_discrete:
            if action.shape != () or not 0 <= action < shape.action_size:
                raise InvalidInputError(f"action {action.tolist()}: the loss reads one of {shape.action_size} discrete actions")
            action = np.eye(shape.action_size)[int(action)]
        elif action.shape != (shape.action_size,):
            raise InvalidInputError(f"an action has shape {action.shape}: the loss reads {shape.action_size} action components")
        self._new.append((np.concatenate((obs, action)), float(reward), bool(is_last)))

    def take_in(self) -> None:
        """Add the steps since the last call to buffer and moments, and update `obs` and `static`."""
        self.num_newest = len(self._new)
        if not 0 < self.num_newest <= self.num_rows:
            raise InvalidInputError(f"{self.num_newest} steps since the last take_in: allowed is [1, {self.num_rows}]")
        newest, reward, is_last = (torch.from_numpy(np.stack(part))[None] for part in zip(*self._new, strict=True))
        self._buffer.append(newest.float(), reward.float(), is_last)
        self._moments.add(self._buffer.filled())
        rows, self._new = self._buffer.normalised(self._moments), []
        self.obs = rows[0, :, : self._shape.obs_size]
        self.static = static_rows(self._shape, rows, self._buffer.ends)[0]


def _constant(log_std: Tensor | None, memory: Tensor) -> Tensor:
    return (memory if log_std is None else torch.cat((log_std, memory))).unsqueeze(0)


def _actions(is_discrete: bool, size: int) -> str:
    return f"{size} {'discrete actions' if is_discrete else 'action components'}"


def _evolved_of_run(folder: Path) -> dict[str, Any]:
    """What the run in `folder` evolves its loss for; empty where there is no run of EPG."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) if file.is_file() else None
    if not isinstance(config, dict) or config.get("algorithm") != "epg":
        return {}
    return {name: config[name] for name in EVOLVED if name in config}


def _content(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The content of a file's metadata: `shape`, and in newer files `evolved`."""
    if metadata.get("format") == OLD_FORMAT:
        content = {"format": FORMAT, "shape": json.loads(metadata["shape"])}
    else:
        content = json.loads(metadata.get("learned_loss", "{}"))
    if content.get("format") != FORMAT:
        raise InvalidInputError(
            f"{file} holds no learned loss of this version: its format is {content.get('format', 'unnamed')!r}"
        )
    if content["shape"]["architecture"] not in ARCHITECTURES:
        raise InvalidInputError(
            f"{file} is of an architecture {content['shape']['architecture']!r} that this version does not know"
        )
    return content
