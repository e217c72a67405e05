"""The residual block of ResNet-18 and networks of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from plastibench.models.layers.activation import expanded_width
from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.plugins.architecture import LayerFactories


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv 1512.03385, figure 2)."""

    def __init__(self, in_channels: int, channels: int, stride: int, factories: LayerFactories) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, channels, stride)
        self.norm1 = factories.norm(channels)
        self.activation1 = factories.activation()
        self.conv2 = Conv3x3(expanded_width(channels, self.activation1), channels)
        self.norm2 = factories.norm(channels)
        self.shortcut = _shortcut(in_channels, channels, stride, factories)
        self.activation2 = factories.activation()
        self.out_channels = expanded_width(channels, self.activation2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in_channels, h, w) to (b, out_channels, h / stride, w / stride)."""
        y = self.activation1(self.norm1(self.conv1(x)))
        return self.activation2(self.norm2(self.conv2(y)) + self.shortcut(x))  # type: ignore[no-any-return]


def _shortcut(in_channels: int, channels: int, stride: int, factories: LayerFactories) -> nn.Module:
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    projection = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(projection, factories.norm(channels))


def residual_network(
    in_channels: int,
    width: int,
    blocks: Sequence[int],
    num_classes: int,
    factories: LayerFactories,
    *,
    stem: nn.Module | None = None,
    pool: nn.Module | None = None,
) -> nn.Sequential:
    """Return a classifier: a stem of `width` channels, by default 3x3, `pool`, and stages of residual blocks.

    Every stage but the first doubles the channels and halves height and width.
    """
    activation = factories.activation()
    stem = Conv3x3(in_channels, width) if stem is None else stem
    layers: list[nn.Module] = [stem, factories.norm(width), activation]
    if pool is not None:
        layers.append(pool)
    channels = expanded_width(width, activation)
    for stage, num_blocks in enumerate(blocks):
        for index in range(num_blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            block = BasicBlock(channels, width * 2**stage, stride, factories)
            layers.append(block)
            channels = block.out_channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def kaiming_fan_out(model: nn.Module) -> nn.Module:
    """Initialize convolutions by fan-out for ReLU (He et al. 2015, arXiv 1502.01852); return the model."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
