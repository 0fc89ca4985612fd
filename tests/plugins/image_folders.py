"""Folders of small images for tests, and their audit."""

import io
import zlib

import numpy as np
from PIL import Image

from compressor.data.audit import AuditSettings
from compressor.data.audit import audit as audit_folder


def picture(seed, width=6, height=5):
    """Noise that differs from seed to seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(seed):
    return encoded(picture(seed, 12, 9), "JPEG")


def write(folder, *names, seed=None):
    """Write pictures below a folder: each another one, or the one of `seed`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(zlib.crc32(name.encode()) if seed is None else seed).save(path)


def audit(root, **options):
    given = {"labels": "none", "holdout": 0.25, "validation": 0.2, "seed": 0, **options}
    return audit_folder(root, AuditSettings(**given))


def ids(found, *splits):
    photos = found.images.part(*splits).records if splits else found.images.records
    return [photo.id for photo in photos]
