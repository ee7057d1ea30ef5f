"""Contact forces on bodies (`cfrc_ext`) at the end of every substep, computed inside MuJoCo's own step.

`mj_step` leaves `cfrc_ext` at zero. gymnasium calls `mj_rnePostConstraint` after the step, per simulation and from Python; a force sensor
would have MuJoCo call it, but under RK4 at the first of the four stages, and so with other contacts than gymnasium's. An engine plugin
is called where it belongs: its `advance` runs at the end of each substep with `(model, data, instance)`, and `mj_rnePostConstraint`
takes `(model, data)`, so the C function itself can stand there (the C calling conventions of x86-64 and ARM64 ignore the third argument).
The callbacks that MuJoCo demands besides (size of state, init, reset, compute) have nothing to do and must return 0 where they return
something: `mj_isSparse(model)` only reads the model and returns 0 for models of fewer than 60 degrees of freedom.
"""

from __future__ import annotations

import ctypes
import functools

import mujoco
import mujoco.batch

PLUGIN = "metaray.contact_forces"

MAX_DEGREES_OF_FREEDOM = 59
"""From 60 on, MuJoCo takes the sparse solver by itself and `mj_isSparse` would not be 0."""


class _Plugin(ctypes.Structure):
    """MuJoCo's `mjpPlugin` (mjplugin.h of 3.17), its function pointers as addresses."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("nattribute", ctypes.c_int),
        ("attributes", ctypes.c_void_p),
        ("capabilityflags", ctypes.c_int),
        ("needstage", ctypes.c_int),
        *(
            (callback, ctypes.c_void_p)
            for callback in (
                "nstate",
                "nsensordata",
                "init",
                "destroy",
                "copy",
                "reset",
                "compute",
                "advance",
                "visualize",
                "actuator_act_dot",
                "sdf_distance",
                "sdf_gradient",
                "sdf_staticdistance",
                "sdf_attribute",
                "sdf_aabb",
            )
        ),
    )


@functools.cache
def _register() -> _Plugin:
    """Register the plugin in this process, once; the structure is returned so that the cache keeps it alive."""
    library = ctypes.CDLL(mujoco.batch._batch.__file__)  # resolves the symbols of the libmujoco that is loaded already
    nothing = ctypes.cast(library.mj_isSparse, ctypes.c_void_p)
    plugin = _Plugin(
        name=PLUGIN.encode(),
        nstate=nothing,
        init=nothing,
        reset=nothing,
        compute=nothing,
        advance=ctypes.cast(library.mj_rnePostConstraint, ctypes.c_void_p),
    )
    library.mjp_registerPlugin.argtypes = [ctypes.POINTER(_Plugin)]
    library.mjp_registerPlugin.restype = ctypes.c_int
    library.mjp_registerPlugin(ctypes.byref(plugin))
    return plugin


def compile_with_contact_forces(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile `spec` so that `cfrc_ext` is up to date after every substep; the motion is unchanged, bit for bit.

    Raises:
        ValueError: the model is so large that MuJoCo would use its sparse solver.
    """
    _register()
    spec.activate_plugin(PLUGIN)
    spec.add_plugin(name="contact_forces", plugin_name=PLUGIN, active=True)
    model = spec.compile()
    if model.nv > MAX_DEGREES_OF_FREEDOM:
        raise ValueError(
            f"contact forces need a model of at most {MAX_DEGREES_OF_FREEDOM} degrees of freedom, this one has {model.nv}"
        )
    return model
