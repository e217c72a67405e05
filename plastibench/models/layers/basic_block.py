"""The residual block of ResNet-18 and the stack of stages made from it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from plastibench.models.layers.conv3x3 import Conv3x3
from plastibench.plugins.architecture import LayerFactories


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv 1512.03385, figure 2)."""

    def __init__(self, inside: int, outside: int, stride: int, parts: LayerFactories) -> None:
        super().__init__()
        self.conv1 = Conv3x3(inside, outside, stride)
        self.norm1 = parts.norm(outside)
        self.activation1 = parts.activation()
        widened = outside * getattr(self.activation1, "expansion", 1)
        self.conv2 = Conv3x3(widened, outside)
        self.norm2 = parts.norm(outside)
        self.shortcut = self._shortcut(inside, outside, stride, parts)
        self.activation2 = parts.activation()
        self.width = outside * getattr(self.activation2, "expansion", 1)

    @staticmethod
    def _shortcut(inside: int, outside: int, stride: int, parts: LayerFactories) -> nn.Module:
        if stride == 1 and inside == outside:
            return nn.Identity()
        project = nn.Conv2d(inside, outside, kernel_size=1, stride=stride, bias=False)
        return nn.Sequential(project, parts.norm(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inside, h, w) to (b, width, h / stride, w / stride)."""
        y = self.activation1(self.norm1(self.conv1(x)))
        return self.activation2(self.norm2(self.conv2(y)) + self.shortcut(x))  # type: ignore[no-any-return]


def residual_network(
    stem: Sequence[nn.Module],
    inside: int,
    plan: Sequence[tuple[int, int]],
    num_classes: int,
    parts: LayerFactories,
) -> nn.Sequential:
    """Return a classifier: `stem` gives `inside` channels, `plan` lists (channels, blocks) of each stage.

    Every stage but the first halves height and width.
    """
    layers: list[nn.Module] = list(stem)
    for position, (channels, blocks) in enumerate(plan):
        for block in range(blocks):
            stride = 2 if position > 0 and block == 0 else 1
            made = BasicBlock(inside, channels, stride, parts)
            layers.append(made)
            inside = made.width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, num_classes))


def kaiming_fan_out(model: nn.Module) -> nn.Module:
    """Initialise convolutions as He et al. 2015 (arXiv 1502.01852) for ReLU, by fan-out; return the model."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
