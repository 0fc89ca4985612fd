"""Make the weights of recipes/quickstart again: a small ViT and a smaller CNN, taught digits.

Both see only the first 898 of scikit-learn's 1,797 digits, with their labels; `compressor
quickstart` writes only the others, so neither has seen an image of the quickstart's folder. The ViT
is the teacher. The CNN plays what a user gets from a model hub: a student that was trained before,
on other images. The weights are saved in half precision, without the classifier.

    python tools/train_quickstart.py teacher student     # about two minutes each on two cores
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from compressor.data.augmentation import seeded_view
from compressor.data.quickstart import DIGITS_FOR_TRAINING, digit_image
from compressor.recipe.target import recipes_folder

BATCH, LR, SEED = 64, 2e-3, 0
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Network:
    """What is trained, and with which preprocessing."""

    model: str
    """Its name in timm."""
    epochs: int
    mean: Colour
    std: Colour
    args: Mapping[str, int] = field(default_factory=dict)


NETWORKS = {
    "teacher": Network(
        "vit_tiny_patch16_224",
        epochs=60,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        args={"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 4},
    ),
    "student": Network(
        "mobilenetv3_small_050",
        epochs=30,
        mean=(0.485, 0.456, 0.406),  # timm's for this model, which the recipe keeps
        std=(0.229, 0.224, 0.225),
    ),
}


def images(numbers: range) -> tuple[list[Image.Image], Tensor]:
    """Digits as 32 x 32 RGB images, as the quickstart writes them, and their classes."""
    digits = load_digits()
    pictures = [digit_image(digits.images[number]).convert("RGB") for number in numbers]
    return pictures, torch.from_numpy(digits.target[list(numbers)])


def batch(pictures: list[Image.Image], rows: np.ndarray, epoch: int | None, of: Network) -> Tensor:
    """Pictures, augmented unless `epoch` is None, normalised: [B, 3, 32, 32]."""
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
    mean, std = (torch.tensor(each)[:, None, None] for each in (of.mean, of.std))
    return (pixels.permute(0, 3, 1, 2) / 255 - mean) / std


def trained(network: Network) -> nn.Module:
    """Teach a network the digits that are kept for it."""
    pictures, labels = images(range(DIGITS_FOR_TRAINING))
    torch.manual_seed(SEED)
    model: nn.Module = timm.create_model(network.model, num_classes=10, **network.args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    steps = network.epochs * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    for epoch in range(network.epochs):
        order = np.random.default_rng([SEED, epoch]).permutation(len(pictures))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            logits = model(batch(pictures, rows, epoch, network))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
    return model.eval()


def main(roles: list[str]) -> None:
    """Train, say how good each is on the unseen half, save."""
    torch.set_num_threads(1)  # the same bits on a machine with more cores
    unseen, truth = images(range(DIGITS_FOR_TRAINING, 1797))
    for role in roles:
        network = NETWORKS[role]
        model = trained(network)
        with torch.inference_mode():
            answers = model(batch(unseen, np.arange(len(unseen)), None, network)).argmax(dim=1)
        right = (answers == truth).float().mean()
        print(f"{role}: accuracy on the {len(unseen)} unseen digits: {right:.3f}")
        kept = {
            key: value.half() if value.is_floating_point() else value
            for key, value in model.state_dict().items()
            if not key.startswith(("head.", "classifier."))
        }
        path = recipes_folder() / "quickstart" / f"{role}.safetensors"
        save_file(kept, path, {"made_by": "tools/train_quickstart.py"})
        path.chmod(0o644)  # safetensors writes 0600, and a wheel keeps the mode
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:] or [*NETWORKS])
