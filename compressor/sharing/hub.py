"""A run to a repository of a model hub, as one commit: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compressor.models.pretrained.hub import endpoint, reachable
from compressor.sharing.shared_run import BUNDLE, CARD, SharedRun
from runtime.errors import InputError, MissingDependencyError
from runtime.text import without_secrets

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_LOGIN = (
    "Log in with `hf auth login`, or set HF_TOKEN to a token that may write to it; "
    "edge-compressor keeps none."
)


def push(run: SharedRun, repository: str, *, public: bool, note: Callable[[str], None]) -> str:
    """Push a run to a repository, which is created if it is not there.

    Files of an earlier push that the bundle has no more are deleted in the same commit.

    Args:
        run: what to push.
        repository: `owner/name`; `name` alone is one of the user's own.
        public: whether a new repository may be seen by everybody, and whether one that is there
            may be public already.
        note: gets lines for the user.

    Returns:
        The address of the repository.

    Raises:
        InputError: no such name is possible, the hub refuses, or the repository is public.
        MissingDependencyError: no token, or the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    where = f"{without_secrets(endpoint())}/{repository}"
    _require_name(repository)
    if not reachable():
        raise MissingDependencyError(
            f"{where}: the hub cannot be reached from here. Nothing was sent."
        )
    if get_token() is None:
        raise MissingDependencyError(f"{where}: there is no token for this hub.\n  {_LOGIN}")
    with _told(where):
        api = HfApi(endpoint=endpoint())
        there = _visible(api, repository)
        if there and not public:
            raise InputError(
                f"{where}: is public, so that everybody could see the student and its held-out "
                "images.\n  Name another repository, or allow it with --public."
            )
        made = api.create_repo(repository, private=not public, exist_ok=True)
        old = set() if there is None else set(api.list_repo_files(made.repo_id))
        gone = [name for name in old if name.startswith(f"{BUNDLE}/") and name not in run.files]
        note(f"{where}: sending {run.text()}")
        operations: list[Any] = [CommitOperationAdd(CARD, run.card.encode())]
        operations += [CommitOperationAdd(name, str(path)) for name, path in run.files.items()]
        operations += [CommitOperationDelete(name) for name in sorted(gone)]
        message = f"{run.name}: {run.report.verdict.outcome}, {run.report.recommended.file}"
        api.create_commit(made.repo_id, operations, commit_message=message)
    return f"{without_secrets(endpoint())}/{made.repo_id}"


def _require_name(repository: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"{repository}: {error}") from error


def _visible(api: HfApi, repository: str) -> bool | None:
    """Return whether everybody sees a repository; None: it is not there."""
    from huggingface_hub.errors import RepositoryNotFoundError

    if "/" not in repository:
        repository = f"{api.whoami()['name']}/{repository}"
    try:
        return not api.repo_info(repository).private
    except RepositoryNotFoundError:
        return None


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Raise what the hub refuses as one of our errors, without a secret."""
    from huggingface_hub.errors import HfHubHTTPError

    client: type[Exception] = HfHubHTTPError.__bases__[0]  # of the HTTP client that the hub uses
    try:
        yield
    except HfHubHTTPError as error:
        code = error.response.status_code
        said = _line(error)
        if code in (401, 403):
            raise InputError(f"{where}: the hub refuses ({code}): {said}\n  {_LOGIN}") from None
        if code < 500:
            raise InputError(f"{where}: the hub refuses ({code}): {said}") from None
        raise MissingDependencyError(f"{where}: the hub fails ({code}): {said}{_AGAIN}") from None
    except (OSError, RuntimeError, client) as error:
        raise MissingDependencyError(f"{where}: {_line(error)}{_AGAIN}") from None


_AGAIN = "\n  Nothing is half there: a push is one commit. The same command sends it again."


def _line(error: Exception) -> str:
    """Return an error in one line, and what it was raised from: of an upload, why it failed."""
    causes = [error] if error.__cause__ is None else [error, error.__cause__]
    said = (without_secrets(str(each).strip()) or type(each).__name__ for each in causes)
    return " ".join(text.splitlines()[0][:300] for text in said)
