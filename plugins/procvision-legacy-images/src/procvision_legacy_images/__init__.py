"""Pictures of runners in the field, `dev-shm:…`: files in a folder that both sides know."""

from procvision_legacy_images.plugin import LegacyImagesPlugin

__all__ = ["LegacyImagesPlugin"]
