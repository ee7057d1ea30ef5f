"""MuJoCo robots, many in lockstep on `mujoco.batch.Batch`: the engine, the robots, and the task families on them.

`MUJOCO_FAMILIES` maps each registered name to a factory of its family.
"""

from envs.mujoco.families import MUJOCO_FAMILIES

__all__ = ["MUJOCO_FAMILIES"]
