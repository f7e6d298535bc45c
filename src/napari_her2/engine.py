"""The fastest way to run a network on this machine; the same numbers everywhere.

On the CPU the ONNX file of the model runs compiled by OpenVINO; CUDA and MPS run the safetensors weights by torch.
Both are imported when an engine opens, never before: opening the widget must not wait for them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_her2.errors import ModelError
from napari_her2.models import ScoringModel
from napari_her2.strips import in_strips

__all__ = ["DEVICES", "Engine", "choose_device", "open_engine", "start"]

DEVICES = ("auto", "cpu", "cuda", "mps")

Patches = npt.NDArray[np.uint8]
Shares = npt.NDArray[np.float32]
Features = npt.NDArray[np.float32]


class Engine(Protocol):
    """Something that runs a model's network."""

    device: str

    def run(self, pixels: Patches) -> tuple[Shares, Features]:
        """Judge every place of some patches, and see what each patch looks like as a whole.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (n, y, x, 3)
            RGB with the glass at 255.

        Returns
        -------
        shares : ndarray of float32, shape (n, levels, 5, rows, columns)
            Share of each class at every place, for each magnification's head. Of a model of the stacked design, whose
            n patches must be those of one core: probabilities of the four scores, shape (1, 4).
        features : ndarray of float32, shape (n, F)
            Mean over each patch of what every stage of the encoder gives; (1, F) for the stacked design.
        """
        ...


def open_engine(model: ScoringModel, device: str = "auto") -> Engine:
    """Make the model ready to run.

    Parameters
    ----------
    model : ScoringModel
    device : str
        One of `DEVICES`. "auto" takes CUDA or MPS when torch has them, else the compiled CPU engine.

    Raises
    ------
    ModelError
        If the device is not there, or the model's files are missing or changed.
    """
    found = choose_device(device)
    return CompiledEngine(model) if found == "cpu" else TorchEngine(model, found)


def choose_device(device: str) -> str:
    """Where a network shall run: "cpu", which is compiled for, or "cuda" or "mps", which torch runs on.

    Parameters
    ----------
    device : str
        One of `DEVICES`. "auto" takes CUDA or MPS when torch has them, else the CPU.

    Raises
    ------
    ModelError
        If the device is not there.
    """
    if device not in DEVICES:
        raise ModelError(f'There is no device "{device}": choose one of {", ".join(DEVICES)}.')
    if device == "cpu" or (device == "auto" and not _graphics_driver()):
        return "cpu"
    found = _torch_devices()
    if device == "auto":
        return found[0] if found else "cpu"
    if device not in found:
        raise ModelError(f"This machine offers torch no {device} device: choose auto or cpu.")
    return device


def start(engine: Engine, pixels: Patches) -> Callable[[], tuple[Shares, Features]]:
    """Begin what `Engine.run` does; what comes back waits for its end and gives the answer.

    An engine that knows no such thing has run before this returns.
    """
    if isinstance(engine, CompiledEngine):
        return engine.start(pixels)
    answer = engine.run(pixels)
    return lambda: answer


class CompiledEngine:
    """The model's ONNX network, compiled for this CPU by OpenVINO."""

    device = "cpu"

    def __init__(self, model: ScoringModel) -> None:
        model.verify_onnx()
        import openvino

        core = openvino.Core()
        # float32 also where the CPU offers bfloat16: the answers must not depend on the machine
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        network = core.read_model(model.onnx_path)
        in_strips(network)
        self._compiled = core.compile_model(network, "CPU", settings)
        streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # one patch waits for each that runs: a stream must not stand still until Python hands it the next
        self._queue = openvino.AsyncInferQueue(self._compiled, 2 * streams)
        self._queue.set_callback(_keep)
        # Python must not end, nor the queue go, while a stream hands over an answer: that aborts the process
        weakref.finalize(self, self._queue.wait_all)
        self._lock = Lock()
        self._stacked = model.stacked

    def run(self, pixels: Patches) -> tuple[Shares, Features]:
        """See `Engine.run`; patches are spread over the CPU's streams one by one, which bounds the memory."""
        return self.start(pixels)()

    def start(self, pixels: Patches) -> Callable[[], tuple[Shares, Features]]:
        """See `start`: it returns when the last patch has been handed over: those of the next core then follow closely.

        Threads that call it at once take turns.
        """
        pixels = np.ascontiguousarray(pixels)  # OpenVINO would read a copy of its own that nobody holds
        step = len(pixels) if self._stacked else 1
        pending = _Pending(pixels, -(-len(pixels) // step))
        with self._lock:
            for index in range(0, len(pixels), step):
                self._queue.start_async({0: pixels[index : index + step]}, (pending, index), share_inputs=True)

        def finish() -> tuple[Shares, Features]:
            while not pending.done.wait(1):
                if not self._queue.is_ready():
                    continue
                self._queue.wait_all()  # says what went wrong, where it knows
                # ready means that one stream is free: on a busy machine others may have been at work all the same
                if not pending.done.wait(1):
                    raise ModelError("The network stopped before it had judged all patches: score the core again.")
            shares, features = zip(*(pending.answers[k] for k in sorted(pending.answers)), strict=True)
            return np.concatenate(shares), np.concatenate(features)

        return finish


class _Pending:
    """Answers that are still to come."""

    def __init__(self, pixels: Patches, count: int) -> None:
        #: Held until all is done: the streams read them where they lie.
        self.pixels: Patches | None = pixels
        self.count = count
        self.answers: dict[int, tuple[Shares, Features]] = {}
        self.done = Event()


def _keep(request: Any, of: tuple[_Pending, int]) -> None:
    pending, index = of
    # copied: the request's own memory is written again by a later patch
    shares, features = (np.array(request.get_output_tensor(k).data) for k in (0, 1))
    pending.answers[index] = shares, features
    if len(pending.answers) == pending.count:
        pending.pixels = None
        pending.done.set()


class TorchEngine:
    """The model's weights run by torch, on any device that torch knows."""

    def __init__(self, model: ScoringModel, device: str, *, batch: int = 16) -> None:
        torch = _import_torch()
        from napari_her2.networks import build_network

        self.device = device
        self._batch = sum(level.count for level in model.spec.levels) if model.stacked else batch
        network = build_network(model.network)
        from safetensors.torch import load_file

        try:
            network.load_state_dict(load_file(model.weights_path))
        except (RuntimeError, OSError) as error:
            raise ModelError(f"The weights of {model.name} do not fit its network: install the model again.") from error
        self._network: Any = network.eval().to(device).to(memory_format=torch.channels_last)

    def run(self, pixels: Patches) -> tuple[Shares, Features]:
        """See `Engine.run`."""
        torch = _import_torch()
        shares: list[Shares] = []
        features: list[Features] = []
        with torch.inference_mode():
            for start in range(0, len(pixels), self._batch):
                batch = torch.from_numpy(pixels[start : start + self._batch]).to(self.device)
                for kept, answer in zip((shares, features), self._network(batch), strict=True):
                    kept.append(answer.float().cpu().numpy())
        return np.concatenate(shares), np.concatenate(features)


def _import_torch() -> Any:
    """Torch, or advice when it cannot start: on Windows a torch imported after Qt can fail to load its libraries."""
    try:
        import torch
    except OSError as error:
        raise ModelError(
            f"PyTorch could not start ({error}): install the Microsoft Visual C++ redistributable, or choose cpu."
        ) from error
    return torch


def _graphics_driver() -> bool:
    """Whether asking torch for a device is worth the seconds that its import takes."""
    import ctypes.util
    import platform
    import sys

    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return ctypes.util.find_library("nvcuda" if sys.platform == "win32" else "cuda") is not None


def _torch_devices() -> list[str]:
    torch = _import_torch()
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, ready in there.items() if ready]
