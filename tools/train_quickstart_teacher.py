"""Make recipes/quickstart/teacher.safetensors again: a small ViT taught scikit-learn's digits.

It sees only the first 898 of the 1,797 digits, with their labels; `compressor quickstart` writes
only the others, so the teacher has never seen an image of the quickstart's folder. The weights are
saved in half precision, without the classifier.

    python tools/train_quickstart_teacher.py        # about two minutes on two cores
"""

from dataclasses import replace
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from compressor.data.augmentation import seeded_view
from compressor.data.quickstart import DIGITS_FOR_TEACHER, digit_image
from compressor.recipe.target import recipes_folder

MODEL = "vit_tiny_patch16_224"
ARGS: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 128,
    "depth": 4,
    "num_heads": 4,
}
EPOCHS, BATCH, LR, SEED = 60, 64, 2e-3, 0


def images(numbers: range) -> tuple[list[Image.Image], torch.Tensor]:
    """Digits as 32 x 32 RGB images, as the quickstart writes them, and their classes."""
    digits = load_digits()
    pictures = [digit_image(digits.images[number]).convert("RGB") for number in numbers]
    return pictures, torch.from_numpy(digits.target[list(numbers)])


def batch(pictures: list[Image.Image], rows: np.ndarray, epoch: int | None) -> torch.Tensor:
    """Pictures, augmented unless `epoch` is None, normalised to -1..1: [B, 3, 32, 32]."""
    if epoch is None:
        pixels = torch.from_numpy(np.stack([np.asarray(pictures[row]) for row in rows])).float()
    else:
        views = [
            seeded_view(str(row), epoch, seed=SEED, size=(32, 32), scale=(0.6, 1.0)) for row in rows
        ]
        crops = [  # a mirrored digit is not a digit
            replace(view, flip=False).render(pictures[row], 32, Image.Resampling.BICUBIC)
            for view, row in zip(views, rows, strict=True)
        ]
        pixels = torch.from_numpy(np.stack(crops)).float()
    return (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5


def main() -> None:
    """Train, say how good it is on the unseen half, save."""
    pictures, labels = images(range(DIGITS_FOR_TEACHER))
    torch.manual_seed(SEED)
    model = timm.create_model(MODEL, num_classes=10, **ARGS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    steps = EPOCHS * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    for epoch in range(EPOCHS):
        order = np.random.default_rng([SEED, epoch]).permutation(len(pictures))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            logits = model(batch(pictures, rows, epoch))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

    unseen, truth = images(range(DIGITS_FOR_TEACHER, 1797))
    with torch.inference_mode():
        answers = model.eval()(batch(unseen, np.arange(len(unseen)), None)).argmax(dim=1)
    print(f"accuracy on the {len(unseen)} unseen digits: {(answers == truth).float().mean():.3f}")
    kept = {k: v.half() for k, v in model.state_dict().items() if not k.startswith("head.")}
    path = recipes_folder() / "quickstart" / "teacher.safetensors"
    save_file(kept, path, metadata={"model": MODEL, "made_by": "tools/train_quickstart_teacher.py"})
    path.chmod(0o644)  # safetensors writes 0600, and a wheel keeps the mode
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
