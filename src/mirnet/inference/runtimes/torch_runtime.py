"""The runtime torch: for NVIDIA (cuda) and Apple (mps), with the package that training needs anyway."""

import contextlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from mirnet.errors import Cancelled, SettingsError
from mirnet.inference.catalog import Weights
from mirnet.inference.runtimes.protocol import Floats, ShouldStop, require_package

if TYPE_CHECKING:
    import torch


class TorchRuntime:
    """Rebuilds the network from the ONNX file and its card; float32 throughout, without TF32 on NVIDIA."""

    def __init__(self, weights: Weights, device: str = "cpu", threads: int | None = None, fast: bool = False) -> None:
        """`device` "cpu", "cuda", "cuda:1" or "mps". torch has one number of threads for the whole process."""
        with require_package("torch", '"mirnet[train]"'):
            import torch

            from mirnet.network import exported_weights, pooling
        self._torch, self._pooling = torch, pooling
        self._device = _device(torch, device)
        card = weights.card
        network = exported_weights.read(weights.read_verified(), card.architecture, card.config, weights.path)
        self._network = network.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if threads is not None:
            torch.set_num_threads(threads)
        self.precision = "bf16" if fast else "f32"

    @classmethod
    def open(cls, weights: Weights, device: str, threads: int | None, fast: bool) -> "TorchRuntime":
        return cls(weights, device, threads, fast)

    def restore(self, image: Floats, stops: Floats | None, scene_vector: Floats | None,
                should_stop: ShouldStop | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        if should_stop is not None and should_stop():  # torch cannot be stopped once it has begun
            raise Cancelled
        with self._inference_mode():
            inputs = [self._tensor(x) for x in (image, stops) if x is not None]
            if scene_vector is not None:
                given = self._pooling.GivenPooling(self._tensor(scene_vector))
                return self._array(self._network.restore(given, *inputs)), scene_vector
            measured = self._pooling.MeasuringPooling()
            restored = self._network.restore(measured, *inputs)
            return self._array(restored), self._array(measured.scene)

    def propose(self, thumbnail: Floats) -> Floats:
        with self._inference_mode():
            return self._array(self._network.propose(self._tensor(thumbnail)))

    def _inference_mode(self) -> contextlib.ExitStack:
        """No gradients, and products in float32 (TF32 of NVIDIA would round to 10 bits), or bfloat16 where chosen."""
        stack = contextlib.ExitStack()
        stack.enter_context(self._torch.inference_mode())
        stack.enter_context(self._torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        if self.precision == "bf16":
            stack.enter_context(self._torch.autocast(self._device.type, self._torch.bfloat16))
        return stack

    def _tensor(self, x: Floats) -> "torch.Tensor":
        return self._torch.from_numpy(x).to(self._device)

    def _array(self, x: "torch.Tensor") -> Floats:
        array: Floats = x.float().contiguous().cpu().numpy()
        return array


def _device(torch: Any, name: str) -> Any:
    """The torch device of this name. Raises SettingsError that lists the available devices."""
    here = _devices(torch)
    if name.partition(":")[0] not in here:
        raise SettingsError(
            f'There is no device "{name}" here; torch finds {", ".join(here)}. For cuda install a build of torch with '
            "CUDA (https://pytorch.org/get-started/locally), and NVIDIA's driver."
        )
    try:
        torch.zeros(1, device=name)
    except RuntimeError as error:  # cuda:7
        raise SettingsError(f'The device "{name}" cannot be used by torch: {str(error).splitlines()[0]}') from error
    return torch.device(name)


def _devices(torch: Any) -> list[str]:
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, there in found.items() if there]


def versions() -> list[str]:
    """One line with its version; none where it is not installed. Listing its devices would take a second."""
    try:
        return [f"torch {importlib.metadata.version('torch')}"]
    except importlib.metadata.PackageNotFoundError:
        return []
