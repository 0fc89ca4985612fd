"""What is said of images that cannot be opened as a source."""

from pathlib import Path
from typing import Any

import pytest

from compressor.data.sources.opened import opened
from runtime.errors import InputError


def refusal(path: Path, **how: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, **how)
    return str(caught.value)
