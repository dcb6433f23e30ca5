"""Where a network looks at the whole image: its global averages, taken, recorded or given.

MIRNet looks at the whole image in a few places only: the global average poolings of channel
attention and of SKFF (and the context block of MIRNetv2). Cut into tiles, each tile would get
averages, and so a brightness, of its own. Therefore every such place asks a `Pooling` for its
vector, in the order in which the network computes, and the caller chooses where it comes from:

* `PerPicture`: each image of the batch pools itself (training, small images);
* `Survey`: the batch is one scene; all its tiles pool together, and the vectors are recorded;
* `Given`: the vectors of a survey are handed out, so the network is purely local;
* `Switched`: a survey or given vectors, by a flag inside an exported graph.

A *scene* is all these vectors in one flat float32 tensor (K,).
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from mirnet.errors import SettingsError


class Pooling(Protocol):
    """How a network gets its global vectors: features (N, C, H, W) to (N or 1, C, 1, 1)."""

    def average(self, features: Tensor) -> Tensor:
        """The mean over all pixels."""
        ...

    def attend(self, features: Tensor, logits: Tensor) -> Tensor:
        """The mean over all pixels, weighted by the softmax of `logits` (N, 1, H, W) over them."""
        ...


class PerImagePooling:
    """Each image of the batch pools its own pixels."""

    def average(self, features: Tensor) -> Tensor:
        return features.mean((2, 3), keepdim=True)

    def attend(self, features: Tensor, logits: Tensor) -> Tensor:
        weights = logits.flatten(2).softmax(2)  # (N, 1, H·W)
        return (features.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)  # (N, C, 1, 1)


class MeasuringPooling:
    """The batch is one scene: all its tiles pool together, and `scene` holds the vectors."""

    def __init__(self) -> None:
        self._vectors: list[Tensor] = []

    @property
    def scene(self) -> Tensor:
        return torch.cat([vector.flatten() for vector in self._vectors])

    def average(self, features: Tensor) -> Tensor:
        return self._record(features.mean((0, 2, 3), keepdim=True))

    def attend(self, features: Tensor, logits: Tensor) -> Tensor:
        weights = logits.flatten().softmax(0)  # (N·H·W,)
        pixels = features.transpose(0, 1).flatten(1)  # (C, N·H·W)
        return self._record((pixels @ weights).reshape(1, -1, 1, 1))

    def _record(self, vector: Tensor) -> Tensor:
        self._vectors.append(vector)
        return vector


class GivenPooling:
    """Pooled vectors measured earlier, returned in order."""

    def __init__(self, scene: Tensor) -> None:
        self._scene, self._position = scene, 0

    def average(self, features: Tensor) -> Tensor:
        count = features.shape[1]
        vector = self._scene[self._position : self._position + count]
        if len(vector) < count:
            raise SettingsError(
                f"A scene of {len(self._scene)} numbers is too short for this network; "
                "survey with the network that renders."
            )
        self._position += count
        return vector.reshape(1, count, 1, 1).to(features.dtype)

    def attend(self, features: Tensor, logits: Tensor) -> Tensor:
        return self.average(features)


class SwitchedPooling(MeasuringPooling):
    """Measures the scene where `use_scene` (a bool scalar) is false, uses the given one where true; for export."""

    def __init__(self, scene: Tensor, use_scene: Tensor) -> None:
        super().__init__()
        self._given, self._use_scene = GivenPooling(scene), use_scene

    def _record(self, vector: Tensor) -> Tensor:
        return super()._record(torch.where(self._use_scene, self._given.average(vector), vector))


class SceneNetwork(nn.Module):
    """A restoration network whose global vectors can be recorded and given: what all presets share.

    A child sets `size_multiple` and defines `restore(pooling, picture, …)` for sizes that are
    multiples of it; here any size from 1x1 up is padded to that and cropped back.
    `input_channels` names the channels of each input.
    """

    size_multiple: int
    input_channels: tuple[int, ...] = (3,)

    def restore(self, pooling: Pooling, *inputs: Tensor) -> Tensor:
        """Restore inputs whose height and width are multiples of `size_multiple`."""
        raise NotImplementedError

    def forward(self, *inputs: Tensor) -> Tensor:
        """The restored image (N, 3, H, W), not clipped; each image of the batch pools itself."""
        return self._any_size(PerImagePooling(), *inputs)

    def measure_scene(self, *inputs: Tensor) -> Tensor:
        """The scene (K,) of a batch of tiles of one image, pooled over all of them together."""
        pooling = MeasuringPooling()
        self._any_size(pooling, *inputs)
        return pooling.scene

    def render(self, scene: Tensor, *inputs: Tensor) -> Tensor:
        """The restored tiles (N, 3, H, W), computed with a measured scene: purely local."""
        return self._any_size(GivenPooling(scene), *inputs)

    def scene_size(self) -> int:
        """K, the number of floats in a scene of this network."""
        device, side = next(self.parameters()).device, self.size_multiple
        with torch.no_grad():
            return len(self.measure_scene(*(torch.zeros(1, c, side, side, device=device) for c in self.input_channels)))

    def _any_size(self, pooling: Pooling, *inputs: Tensor) -> Tensor:
        height, width = inputs[0].shape[2:]
        padded = [pad_to_multiple(x.expand(-1, -1, height, width), self.size_multiple) for x in inputs]
        return self.restore(pooling, *padded)[:, :, :height, :width]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) grown below and to the right to multiples, by repeated reflection; one-pixel sides repeat."""
    for dim in (2, 3):
        size = x.shape[dim]
        missing = -size % multiple
        if missing:
            period = max(2 * (size - 1), 1)
            steps = torch.arange(size + missing, device=x.device) % period
            x = x.index_select(dim, torch.minimum(steps, period - steps).clamp(max=size - 1))
    return x
