"""The base image that leases start from: SSH server, Python, NumPy, build tools, two users.

Made once, found again by the hash of its recipe, started by its id. The lease's keys are put
into `/run/compute` of each container; see `files/entry.sh` for what it reads there.
"""

from compute.adapters.engine.baseimage.build import ensure_base_image, find_base_image
from compute.adapters.engine.baseimage.image import BaseImage, BaseImageSettings, Origin
from compute.adapters.engine.baseimage.recipe import (
    KEYS_FOLDER,
    SSH_PORT,
    USER,
    USER_ID,
    Recipe,
    default_base,
    gpu_present,
)

__all__ = [
    "KEYS_FOLDER",
    "SSH_PORT",
    "USER",
    "USER_ID",
    "BaseImage",
    "BaseImageSettings",
    "Origin",
    "Recipe",
    "default_base",
    "ensure_base_image",
    "find_base_image",
    "gpu_present",
]
