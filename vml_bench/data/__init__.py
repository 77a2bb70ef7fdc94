"""Data sets: images in [-1, 1] under stable ids."""

from vml_bench.data.drawn import DrawnImages
from vml_bench.data.folders import FFHQ, CelebAHQ, ImageFolder, ImageNet
from vml_bench.data.photos import PhotoCrops

__all__ = ["FFHQ", "CelebAHQ", "DrawnImages", "ImageFolder", "ImageNet", "PhotoCrops"]
