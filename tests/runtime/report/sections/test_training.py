"""How the student was trained, in words that a user understands."""

import pytest

from runtime.report import html_page, markdown
from runtime.report.sections.training import lines

TRAINING = {
    "method": "tintem", "center": True, "seed": 0, "images": 1566, "views": 10, "mixed_views": 5,
    "batch": 32, "steps": 510, "teacher": "cached", "token_maps": None, "head": "pca",
    "head_fidelity": {"cosine_mae": 0.00016, "cosine_correlation": 1.0,
                      "semi_orthogonality_defect": 2.7e-08},
    "mean_restored": {"share": 0.5, "similarity": 0.887},
    "start": {"images": 1566, "views": 4, "inputs": 1696, "strength": 0.0316,
              "unexplained": 0.4287},
    "epochs": 30, "kept_epoch": 27,
    "kept": {"epoch": 27, "lr": 4e-05, "head_loss": 0.0, "student_loss": 0.25,
             "similarity": 0.885, "knn_accuracy": 0.984, "best_so_far": True, "seconds": 2.6},
}  # fmt: skip


def test_every_sentence_and_no_key_is_left_over():
    said, others = lines(TRAINING)
    assert said == [
        "Method `tintem`, seed 0; 1,566 training images, 10 views of each, 5 of them mixed; the "
        "teacher's features cached, less their mean.",
        "Closed form: the embedding layer was solved from 1,696 of the student's features, from 4 "
        "views of 1,566 images. On images that it had not seen it leaves 43% of the variance of "
        "the teacher's features unexplained (cross-validated; ridge strength 0.032).",
        "Trained for 30 epochs, 510 steps of 32 images; epoch 27 was kept (on validation images: "
        "similarity 0.885, kNN accuracy 0.984).",
        "Head from the teacher's width to the student's: pca; it keeps the centred cosines with a "
        "correlation of 1.000 and a mean error of 0.00016.",
        "50% of the teacher's mean was given back to every embedding: the plain cosines of "
        "validation images then follow the teacher's with a correlation of 0.887, the best of the "
        "shares that were tried.",
    ]
    assert others == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0, "kept_epoch": 0}, "Not trained further: `distill.epochs` is 0."),
        ({"kept_epoch": 0, "kept": {}},
         "Trained for 30 epochs, 510 steps of 32 images; its start (epoch 0) was kept."),
        ({"start": {"images": 9, "views": 1, "inputs": 16}},
         "Start: the main directions of 16 of the student's features, from 1 views of 9 images, "
         "without a teacher."),
        ({"solved_again": {"before": 0.801, "after": 0.812, "strength": 1.0}},
         "The embedding layer was solved once more from the trained features: on validation images "
         "0.812 in place of 0.801, kept."),
        ({"solved_again": {"before": 0.812, "after": 0.801, "strength": 1.0}},
         "The embedding layer was solved once more from the trained features: on validation images "
         "0.801 in place of 0.812, left, the trained layer is kept."),
        ({"start": {"images": 9, "views": 1, "synthetic_images": 18, "inputs": 16,
                    "strength": 1.0, "unexplained": 0.25}},
         "Closed form: the embedding layer was solved from 16 of the student's features, from 1 "
         "views of 9 images and 18 synthetic ones. On images that it had not seen it leaves 25% of "
         "the variance of the teacher's features unexplained (cross-validated; ridge strength 1)."),
        ({"token_maps": [4, 4]},
         "Method `tintem`, seed 0; 1,566 training images, 10 views of each, 5 of them mixed; the "
         "teacher's features cached, less their mean; its feature map too, at 4 x 4 cells."),
    ],
)  # fmt: skip
def test_other_trainings(changes, said):
    assert said in lines(TRAINING | changes)[0]


def test_what_no_sentence_knows_is_listed_and_what_is_missing_is_left_out(document, read):
    document["training"] = {"loss_shares": {"global": 0.5}, "method": "new", "seed": 3}
    assert lines(document["training"]) == (
        ["Method `new`, seed 3."],
        {"loss_shares": {"global": 0.5}},
    )
    page = markdown.markdown(read(document))
    assert "## Training\n\n- Method `new`, seed 3.\n- loss_shares: global 0.5\n" in page
    assert lines({}) == ([], {})


def test_the_page_has_it_beside_what_it_was_worth(document, read):
    document["training"] = TRAINING
    document["untrained_student"] = {"accuracy_linear": 0.3, "accuracy_linear_ci": [0.2, 0.4]}
    page = html_page.render(read(document), None)
    assert "<summary>How the student was trained</summary>" in page
    assert "<li>Method tintem, seed 0;" in page
