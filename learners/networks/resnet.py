"""The two image torsos of IMPALA.

    shallow: conv 16 8x8/4, ReLU, conv 32 4x4/2, ReLU, linear 256, ReLU
    deep:    3 x [conv 3x3, max-pool 3x3/2, 2 x residual(ReLU, conv 3x3, ReLU, conv 3x3)] with 16, 32, 32 channels, ReLU, linear 256, ReLU

Reference: Espeholt et al. (2018), figure 3; deepmind/scalable_agent `experiment.py` for padding (TensorFlow's SAME in the deep torso) and
initialisation (truncated normal of scale 1 / sqrt(fan-in)); Mnih et al. (2016) for the shallow torso on Atari (no padding).
On 84 x 84 x 4 the deep torso hands 3,872 features to its linear layer and has 1,089,232 parameters; the shallow one 2,592 and 676,144.

Letters: N images, C channels (stacked frames), F features.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from envs.errors import InvalidInputError
from learners.networks.mlp import HIDDEN_GAIN, orthogonal_linear

FEATURES = 256
SHALLOW_LAYERS = ((16, 8, 4), (32, 4, 2))
"""(channels, kernel, stride) of each convolution."""
DEEP_CHANNELS = (16, 32, 32)
BLOCKS_PER_SECTION = 2
SHALLOW_ROWS, DEEP_ROWS = 64, 16
"""Images per convolution on a CPU: their activations stay in its cache and their buffers are reused."""
DEEP_BYTES_PER_PIXEL = 6 * DEEP_CHANNELS[0] * 4
"""Bytes that the deep torso keeps for its backward pass, in float32: about six times the output of its first convolution."""
RECOMPUTE_BYTES = 4 << 30
"""A batch that would keep more is recomputed in the backward pass (checkpointing), at 1.5 times the time. 672 frames of 210 x 160 would
keep 7 GB, and keep 1 with it; those of 84 x 84 keep 1.6."""


class ShallowTorso(nn.Module):
    """IMPALA's shallow network up to its 256 features."""

    def __init__(self, image_shape: tuple[int, int, int], *, input_scale: float, num_extras: int = 0) -> None:
        super().__init__()
        channels, *sizes = image_shape
        convs: list[nn.Module] = []
        for num_channels, kernel, stride in SHALLOW_LAYERS:
            conv = nn.Conv2d(channels, num_channels, kernel, stride)
            nn.init.orthogonal_(conv.weight, HIDDEN_GAIN)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            convs += [conv if convs else ImageInput(conv, scale=input_scale), nn.ReLU(inplace=True)]
            channels, sizes = num_channels, [(size - kernel) // stride + 1 for size in sizes]
        if min(sizes) < 1:
            raise InvalidInputError(
                f"torso shallow needs images of 20 x 20 pixels or more; those of shape {image_shape} are too small: try torso deep, "
                "which takes any size, or mlp"
            )
        self.convs = nn.Sequential(*convs)
        self.linear = orthogonal_linear(channels * math.prod(sizes) + num_extras, FEATURES, HIDDEN_GAIN)
        self.output_size = FEATURES

    def forward(
        self, images: Shaped[Tensor, "N C height width"], extras: Float[Tensor, "N E"] | None = None
    ) -> Float[Tensor, "N F"]:
        """Return 256 features of every image; `extras` are concatenated to the features of the convolutions."""
        found = _in_chunks(self.convs, images, SHALLOW_ROWS)
        return functional.relu(self.linear(found if extras is None else torch.cat((found, extras.to(found.dtype)), dim=-1)))


class DeepTorso(nn.Module):
    """IMPALA's deep residual network up to its 256 features."""

    def __init__(self, image_shape: tuple[int, int, int], *, input_scale: float, num_extras: int = 0) -> None:
        super().__init__()
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for num_channels in DEEP_CHANNELS:
            conv = _same_conv(channels, num_channels)
            layers.append(conv if layers else ImageInput(conv, scale=input_scale))
            # TensorFlow's SAME: ceil(size / 2) outputs; an odd size is padded on both sides, an even one after its end only.
            layers.append(MaxPool((height % 2, width % 2)))
            layers += [ResidualBlock(num_channels) for _ in range(BLOCKS_PER_SECTION)]
            channels, height, width = num_channels, (height + 1) // 2, (width + 1) // 2
        self.sections = nn.Sequential(*layers, nn.ReLU())
        self.linear = nn.Linear(channels * height * width + num_extras, FEATURES)
        _truncated_normal(self.linear)
        self.output_size = FEATURES

    def forward(
        self, images: Shaped[Tensor, "N C height width"], extras: Float[Tensor, "N E"] | None = None
    ) -> Float[Tensor, "N F"]:
        """Return 256 features of every image; `extras` are concatenated to the features of the convolutions."""
        keeps = images.shape[0] * math.prod(images.shape[2:]) * DEEP_BYTES_PER_PIXEL
        found = _in_chunks(self.sections, images, DEEP_ROWS, recompute=keeps > RECOMPUTE_BYTES)
        return functional.relu(self.linear(found if extras is None else torch.cat((found, extras.to(found.dtype)), dim=-1)))


class ImageInput(nn.Module):
    """The first convolution, on unscaled frames, such as integers from 0 to 255; the scale is multiplied into its weight.

    conv(x / 255, w) = conv(x, w / 255): this saves a pass over the frames, and 0..255 are exact in bfloat16, where 255ths are not.
    """

    def __init__(self, conv: nn.Conv2d, *, scale: float) -> None:
        super().__init__()
        self.conv = conv
        self.scale = scale
        # Measured on CPU: channels last trains 1.2 to 1.8 times faster, but 1.3 times slower in bfloat16 with a stride.
        self.half_format = torch.channels_last if conv.stride == (1, 1) else torch.contiguous_format

    def forward(self, images: Shaped[Tensor, "N C height width"]) -> Float[Tensor, "N D out_height out_width"]:
        """Return the convolved images."""
        device = images.device.type
        if torch.is_autocast_enabled(device):
            x = images.to(dtype=torch.get_autocast_dtype(device), memory_format=self.half_format)
        else:
            x = images.to(dtype=self.conv.weight.dtype, memory_format=torch.channels_last)
        return functional.conv2d(x, self.conv.weight * self.scale, self.conv.bias, self.conv.stride, self.conv.padding)


class MaxPool(nn.Module):
    """The largest of 3 x 3 pixels, at every second pixel; with a forward-mode derivative that keeps the memory format.

    torch's own returns a tangent with channels first, and every convolution after it then takes 1.4 times as long.
    """

    def __init__(self, padding: tuple[int, int]) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Float[Tensor, "N C height width"]) -> Float[Tensor, "N C out_height out_width"]:
        """Return the pooled images."""
        primal, tangent = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
        if tangent is None:
            return functional.max_pool2d(x, 3, 2, self.padding, ceil_mode=True)
        pooled, index = functional.max_pool2d(primal, 3, 2, self.padding, ceil_mode=True, return_indices=True)
        rows, height, width = pooled.shape[0], *pooled.shape[2:]
        chosen = tangent.movedim(1, -1).flatten(1, 2).gather(1, index.movedim(1, -1).flatten(1, 2))
        dual: Tensor = forward_ad.make_dual(pooled, chosen.view(rows, height, width, -1).movedim(-1, 1))  # type: ignore[no-untyped-call]
        return dual


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _same_conv(channels, channels)
        self.conv2 = _same_conv(channels, channels)

    def forward(self, x: Float[Tensor, "N C height width"]) -> Float[Tensor, "N C height width"]:
        """Return the block's output."""
        residual: Tensor = self.conv2(functional.relu(self.conv1(functional.relu(x)), inplace=True))
        return x + residual


def _in_chunks(convs: nn.Module, images: Tensor, num_rows: int, *, recompute: bool = False) -> Tensor:
    """Return the flattened output of `convs` [N, G], on a CPU computed `num_rows` images at a time.

    Args:
        convs: the convolutions.
        images: [N, ...].
        num_rows: of a chunk.
        recompute: keep only the images for the backward pass, and recompute each chunk there; on a CPU only.
    """
    if images.device.type != "cpu" or images.shape[0] <= num_rows:
        return torch.flatten(convs(images), 1)
    convolve = partial(_recomputed, convs) if recompute and torch.is_grad_enabled() else convs
    return torch.cat([convolve(rows).flatten(1) for rows in torch.split(images, num_rows)])


def _recomputed(convs: nn.Module, rows: Tensor) -> Tensor:
    """Return `convs(rows)`, recomputed in the backward pass with the weights of this call."""
    # the weights of a surrounding `functional_call`: in the backward pass the module has its own again
    weights = dict(convs.named_parameters())

    def run(rows: Tensor, *tensors: Tensor) -> Tensor:
        found: Tensor = functional_call(convs, dict(zip(weights, tensors, strict=True)), (rows,))
        return found

    result: Tensor = checkpoint(run, rows, *weights.values(), use_reentrant=False, preserve_rng_state=False)
    return result


def _same_conv(num_inputs: int, num_outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(num_inputs, num_outputs, kernel_size=3, padding=1)
    _truncated_normal(conv)
    return conv


def _truncated_normal(layer: nn.Conv2d | nn.Linear) -> None:
    """Sonnet's default: normal of scale 1 / sqrt(fan-in), truncated at two standard deviations; zero bias."""
    scale = 1.0 / math.sqrt(layer.weight[0].numel())
    nn.init.trunc_normal_(layer.weight, std=scale, a=-2 * scale, b=2 * scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
