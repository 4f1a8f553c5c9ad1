"""Opens the pictures of calls, by the backend of the id's scheme. A backend is made when it is first used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from procvision_host.logs import HOST_LOGGER
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.backend import ImageBackend, OpenedImage
from procvision_sdk.images.meta import ImageMeta

if TYPE_CHECKING:
    from procvision_sdk.images.view import RgbArray

_log = logging.getLogger(HOST_LOGGER)


class Images:
    """Opens pictures through their backends, and is the reader behind `read_image_from_shared_memory`."""

    __slots__ = ("_backends", "_current", "_factories", "failed_read", "was_read")

    def __init__(self, factories: Mapping[str, Callable[[], ImageBackend]]) -> None:
        self._factories = factories
        self._backends: dict[str, ImageBackend] = {}
        self._current: tuple[str, Mapping[str, Any], OpenedImage] | None = None
        self.failed_read: CallRefusedError | None = None
        """The failure of a read in this call: an OK after that is no OK."""
        self.was_read = False
        """Whether the algorithm asked for the picture of this call, on whatever thread: an OK without is none."""

    def open(self, shared_mem_id: str, raw_meta: Mapping[str, Any], meta: ImageMeta) -> OpenedImage:
        """Open the picture of a call. It is the only one that may be read until `release`.

        Raises CallRefusedError (1002).
        """
        scheme = shared_mem_id.partition(":")[0]
        backend = self._backends.get(scheme)
        if backend is None:
            backend = self._made(scheme)
        try:
            image = backend.open(shared_mem_id, meta)
        except CallRefusedError:
            raise
        except Exception as error:
            raise _backend_failed(scheme, error) from error
        self.was_read = False
        self._current = (shared_mem_id, raw_meta, image)
        return image

    def lie_in_slots(self, shared_mem_id: str) -> bool:
        """Return whether pictures of such an id lie in slots that this process maps itself, as far as it is known."""
        from procvision_host.builtin.mapped_slots import MappedSlots

        return isinstance(self._backends.get(shared_mem_id.partition(":")[0]), MappedSlots)

    def release(self) -> None:
        """Let nothing be read until the next call opens its picture."""
        self._current = None
        self.failed_read = None
        self.was_read = False

    def read(self, shared_mem_id: str, image_meta: Mapping[str, Any]) -> RgbArray:
        """Return the current call's picture. Raises CallRefusedError (1002) for any other."""
        current = self._current
        if current is None:
            self.failed_read = _not_this_calls(shared_mem_id, "this call came without a picture")
            raise self.failed_read
        if shared_mem_id != current[0]:
            self.failed_read = _not_this_calls(shared_mem_id, f"this call's picture is {current[0]!r}")
            raise self.failed_read
        if image_meta is not current[1] and dict(image_meta) != dict(current[1]):
            self.failed_read = _not_this_calls(
                shared_mem_id, "image_meta isn't this call's; hint: pass on what execute was given"
            )
            raise self.failed_read
        self.was_read = True
        try:
            return current[2].array()
        except CallRefusedError as refusal:
            self.failed_read = refusal
            raise
        except Exception as error:
            self.failed_read = _backend_failed(shared_mem_id.partition(":")[0], error)
            raise self.failed_read from error

    def close(self) -> None:
        """Close the backends."""
        for scheme, backend in self._backends.items():
            try:
                backend.close()
            except Exception as error:  # noqa: BLE001 - a backend is foreign code; nothing can be refused any more
                _log.error("the image backend of %s could not be closed", scheme, exc_info=error)
        self._backends.clear()

    def _made(self, scheme: str) -> ImageBackend:
        factory = self._factories.get(scheme)
        if factory is None:
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED,
                "bad_image_id",
                f"shared_mem_id names the scheme {scheme[:40]!r}, known are {', '.join(sorted(self._factories))}; "
                "hint: a hook plugin that gives others has to be named, --hook NAME",
            )
        try:
            backend = self._backends[scheme] = factory()
        except Exception as error:
            raise _backend_failed(scheme, error) from error
        return backend


def _backend_failed(scheme: str, error: Exception) -> CallRefusedError:
    return CallRefusedError(
        ErrorCode.IMAGE_LOAD_FAILED,
        "image_backend",
        f"the image backend of the scheme {scheme[:40]!r} failed: {type(error).__name__}: {error}",
    )


def _not_this_calls(shared_mem_id: str, why: str) -> CallRefusedError:
    return CallRefusedError(
        ErrorCode.IMAGE_LOAD_FAILED, "not_this_calls_image", f"can't read {shared_mem_id!r:.90}: {why}"
    )
