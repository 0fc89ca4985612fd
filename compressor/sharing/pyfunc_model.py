"""What MLflow runs: a bundle's student, as a pyfunc model. MLflow copies this file into the model.

It imports `runtime`, which lies beside it in the model, and nothing else of edge-compressor.
"""

from __future__ import annotations

from typing import Any

import mlflow.models
from mlflow.pyfunc.model import PythonModel


class Student(PythonModel):
    """Answers image files with class, confidence and whether the image is of the task."""

    def load_context(self, context: Any) -> None:
        """Open the bundle that lies in the model; MLflow's `model_config` may name a provider."""
        import runtime

        provider = (context.model_config or {}).get("provider")
        self._student = runtime.load(context.artifacts["bundle"], provider=provider)

    def predict(self, context, model_input, params=None):  # MLflow reads types as a signature
        """Return a table with a row an image: label, confidence, is_outlier, likeness.

        Args:
            context: of MLflow; not used.
            model_input: names of image files: a list, or a table whose first column has them.
            params: of MLflow; there are none.
        """
        import pandas as pd

        names = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        rows = [answer.to_dict() for answer in self._student.predict([str(each) for each in names])]
        columns = ["label", "confidence", "is_outlier", "likeness"]
        return pd.DataFrame(rows, columns=columns)


mlflow.models.set_model(Student())
