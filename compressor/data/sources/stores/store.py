"""A store at an address: listed and read, asked again where that helps, and without a secret."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from compressor.data.sources.stored_file import Reader
from compressor.recipe.places.addresses import shown
from runtime.errors import InputError, MissingDependencyError
from runtime.text import without_secrets

T = TypeVar("T")

WAITS_S = (1.0, 5.0)
"""Seconds before a request is made again; s3fs and gcsfs have tried five times by then."""
_BLOCK_BYTES = 8_000_000
"""Read ahead while the headers of a shard are read: a request for each would take far longer."""
_AGAIN = (408, 425, 429)
"""Codes of 400 to 499 that pass: too slow, too early, too many."""


class Store:
    """A store at an address: its file system, and the path in it."""

    def __init__(self, address: str) -> None:
        """Connect to the store; nothing is asked of it yet.

        Raises:
            InputError: there is no such kind of store.
            MissingDependencyError: a package for it is missing.
        """
        self.address = shown(address)
        try:
            from fsspec.core import url_to_fs

            # A file system that an earlier run made would remember its listings.
            alone = {} if "::" in address else {"skip_instance_cache": True}
            self._fs, self.path = url_to_fs(address, **alone)
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.address}: {_scrubbed(error)}\n  pip install 'edge-compressor[remote]', or "
                "[s3]; for other stores the package that is named"
            ) from None
        except ValueError as error:
            raise InputError(f"{self.address}: {_scrubbed(error)}") from None
        except OSError as error:
            raise InputError(f"{self.address}: {_scrubbed(error)}") from None

    def find(self) -> dict[str, Mapping[str, Any]]:
        """Return every file below the path, or those that match it, with what the store says.

        Raises:
            InputError: the store refuses, or cannot be reached.
        """
        several = re.search(r"[*?\[]", self.path)
        ask = self._fs.glob if several else self._fs.find
        found: dict[str, Mapping[str, Any]] = self._tried(
            lambda: ask(self.path, detail=True), self.address
        )
        if not found and not several:
            self.info()  # some stores call a folder empty that they cannot reach
        return found

    def info(self) -> Mapping[str, Any]:
        """Return what the store says of the file at the path."""
        found: Mapping[str, Any] = self._tried(lambda: self._fs.info(self.path), self.address)
        return found

    def read(self, path: str, offset: int | None = None, length: int | None = None) -> bytes:
        """Return the content of a file, or a part of it.

        Raises:
            InputError: the store refuses, or cannot be reached.
        """
        where = self.where(path)
        if offset is None or length is None:
            return self._tried(lambda: bytes(self._fs.cat_file(path)), where)
        end = offset + length
        content = self._tried(lambda: bytes(self._fs.cat_file(path, start=offset, end=end)), where)
        # A server that knows no ranges sends the whole file.
        return content if len(content) <= length else content[offset:end]

    @contextmanager
    def reading(self, path: str) -> Iterator[Reader]:
        """Open a file to read it from its beginning to its end, in parts."""
        where = self.where(path)
        file = self._tried(
            lambda: self._fs.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="readahead"),
            where,
        )

        def read(offset: int, length: int) -> bytes:
            def once() -> bytes:
                file.seek(offset)
                return bytes(file.read(length))

            return self._tried(once, where)

        with file:
            yield read

    def where(self, path: str) -> str:
        """Return a path as an address, for messages."""
        return shown(str(self._fs.unstrip_protocol(path)))

    def _tried(self, call: Callable[[], T], where: str) -> T:
        for wait in (*WAITS_S, None):
            try:
                return call()
            # Every store has errors of its own, and only `call` is in here
            except Exception as error:
                if (final := _final(error)) is not None:
                    raise InputError(f"{where}: {final}") from None
                if wait is None:
                    tries = len(WAITS_S) + 1
                    raise InputError(
                        f"{where}: cannot be reached, after {tries} tries: {_scrubbed(error)}"
                    ) from None
                time.sleep(wait)
        raise AssertionError("the last try returns or raises")


def _final(error: BaseException) -> str | None:
    """Return why a request will never succeed; None if it may the next time."""
    codes = {status for each in _chain(error) if (status := _status(each))}
    names = {type(each).__name__ for each in _chain(error)}
    if codes & {401, 403} or isinstance(error, PermissionError) or "NoCredentialsError" in names:
        return (
            "access denied. Credentials are read where the store's own tools read them, for S3 "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws: docs/sources.md"
        )
    if codes & {404, 410} or (isinstance(error, FileNotFoundError) and _was_reached(error)):
        return "not there"
    if any(400 <= code < 500 and code not in _AGAIN for code in codes):
        return f"refused: {_scrubbed(error)}"
    return None


def _was_reached(error: BaseException) -> bool:
    """Whether a store itself says that a file is not there: some say so of a lost connection."""
    return not any(
        _status(each) or (isinstance(each, OSError) and not isinstance(each, FileNotFoundError))
        for each in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _status(error: BaseException) -> int | None:
    """Return the HTTP code of an error of aiohttp, gcsfs or botocore."""
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int):
            return value
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return code if isinstance(code, int) else None
    return None


def _scrubbed(error: BaseException) -> str:
    """Return an error in one line, without what could be a secret."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    text = without_secrets(re.sub(r"\?[^\s'\")]*", "", text))
    return text if type(error).__name__ in text else f"{type(error).__name__}: {text}"
