import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from d2lseg import classes, plotting, voc

IMAGE = torch.arange(3 * 4 * 6, dtype=torch.uint8).view(3, 4, 6)
LABEL = torch.tensor([[0, 0, 0, 15, 15, 255]] * 4, dtype=torch.uint8)


def legend_texts(target):
    return [text.get_text() for legend in [*target.legends] for text in legend.get_texts()]


def test_overlay_by_a_naive_loop():
    mixed = plotting.overlay(IMAGE, LABEL, 0.25)
    for row in range(4):
        for col in range(6):
            c = int(LABEL[row, col])
            colour = voc.VOID_COLOR if c == 255 else voc.VOC_COLORMAP[c]
            for channel in range(3):
                pixel = int(IMAGE[channel, row, col])
                want = pixel if c == 0 else 0.75 * pixel + 0.25 * colour[channel]
                assert abs(int(mixed[channel, row, col]) - want) <= 0.5


def test_overlay_ends_of_the_opacity():
    assert torch.equal(plotting.overlay(IMAGE, LABEL, 0), IMAGE)
    full = plotting.overlay(IMAGE, LABEL, 1)
    assert torch.equal(full[:, LABEL != 0], voc.label2image(LABEL)[:, LABEL != 0])


@pytest.mark.parametrize(
    ("label", "opacity", "message"), [(LABEL[:2], 0.5, "sizes must agree"), (LABEL, 1.5, "opacity")]
)
def test_overlay_refuses(label, opacity, message):
    with pytest.raises(ValueError, match=message):
        plotting.overlay(IMAGE, label, opacity)


def test_to_numpy_orders_and_clips():
    assert plotting.to_numpy(IMAGE).shape == (4, 6, 3)
    assert np.array_equal(plotting.to_numpy(IMAGE)[1, 2], IMAGE[:, 1, 2].numpy())
    assert plotting.to_numpy(torch.rand(1, 4, 6)).shape == (4, 6)
    assert plotting.to_numpy(np.full((2, 2), 1.5)).max() == 1
    with pytest.raises(ValueError, match="expected an image"):
        plotting.to_numpy(torch.zeros(4, 6, 3))


def test_show_images_fills_the_grid_in_order():
    axes = plotting.show_images([IMAGE, IMAGE[0]], 1, 3, titles=["colour", "grey"])
    assert [ax.get_title() for ax in axes] == ["colour", "grey", ""]
    assert [len(ax.images) for ax in axes] == [1, 1, 0]


def test_show_matrix_writes_every_number():
    ax = plotting.show_matrix(torch.tensor([[1.0, 2.5], [3.0, 4.0]]), title="W")
    assert [text.get_text() for text in ax.texts] == ["1", "2.5", "3", "4"] and ax.get_title() == "W"


def test_legend_names_the_classes_that_occur():
    _, ax = plt.subplots()
    plotting.class_legend(ax, LABEL)
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["person", "void"]
    colours = [tuple(round(255 * v) for v in patch.get_facecolor()[:3]) for patch in legend.get_patches()]
    assert colours == [voc.VOC_COLORMAP[15], voc.VOID_COLOR]
    _, bare = plt.subplots()
    plotting.class_legend(bare, torch.zeros(2, 2))
    assert bare.get_legend() is None


def test_show_scenes_draws_image_and_overlay():
    axes = plotting.show_scenes([IMAGE, IMAGE], [LABEL, LABEL * 0], opacity=1)
    assert axes.shape == (2, 2) and legend_texts(axes[0, 0].figure) == ["person", "void"]
    shown = axes[1, 0].images[0].get_array()
    assert tuple(shown[0, 3]) == voc.VOC_COLORMAP[15]
    assert np.array_equal(axes[0, 0].images[0].get_array(), plotting.to_numpy(IMAGE))


def test_show_predictions_has_three_named_rows():
    axes = plotting.show_predictions([IMAGE], [LABEL * 0 + 8], [LABEL])
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "prediction", "truth"]
    assert legend_texts(axes[0, 0].figure) == ["cat", "person", "void"]


def test_show_comparison_draws_each_model_in_its_own_row():
    guesses = {"32s": [LABEL * 0 + 8], "8s": [LABEL * 0]}
    axes = plotting.show_comparison([IMAGE], guesses, [LABEL])
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "32s", "8s", "truth"]
    shown = [ax.images[0].get_array() for ax in axes[:, 0]]
    for image, label in zip(shown[1:], (LABEL * 0 + 8, LABEL * 0, LABEL), strict=True):
        assert np.array_equal(image, plotting.to_numpy(plotting.overlay(IMAGE, label, 0.75)))
    assert legend_texts(axes[0, 0].figure) == ["cat", "person", "void"]


def test_a_row_without_one_label_for_each_image_is_refused():
    with pytest.raises(ValueError, match="'16s' has 1 labels for 2 images"):
        plotting.show_comparison([IMAGE, IMAGE], {"16s": [LABEL]}, [LABEL, LABEL])
    with pytest.raises(ValueError, match="'label' has 2 labels for 1 images"):
        plotting.show_scenes([IMAGE], [LABEL, LABEL])


def test_safe_palette_tells_up_to_seven_objects_apart():
    label = torch.tensor([0, 1, 5, 7, 9, 12, 15, 20, 255])
    colours = plotting.palette_for([label], "safe")
    used = [colours[c] for c in label.tolist() if c != 255]
    assert len(set(used)) == 8 and set(used) <= set(plotting.OKABE_ITO)
    assert plotting.palette_for([label]) is voc.VOC_COLORMAP
    with pytest.raises(ValueError, match="rainbow"):
        plotting.palette_for([label], "rainbow")


def test_class_iou_bars_are_sorted_and_absent_classes_left_out():
    ax = plotting.plot_class_iou(torch.tensor([0.9, float("nan"), 0.2, 0.5]))
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2, 0.5, 0.9])
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [voc.VOC_CLASSES[c] for c in (2, 3, 0)]
    assert ax.lines[0].get_xdata()[0] == pytest.approx((0.9 + 0.2 + 0.5) / 3)


def test_confusion_rows_are_shares():
    ax = plotting.plot_confusion(torch.tensor([[3, 1], [0, 0]]))
    assert np.allclose(ax.images[0].get_array(), [[0.75, 0.25], [0, 0]])


# --- classes of one's own -----------------------------------------------------------------------------------

MANY = torch.arange(255, dtype=torch.uint8).repeat_interleave(torch.arange(255, 0, -1)).view(255, 128)
PHOTO = torch.zeros(3, 255, 128, dtype=torch.uint8)
NAMES = [f"class {i}" for i in range(255)]
COLOURS = classes.voc_colormap(255)[::-1]


def test_own_names_and_colours_are_drawn():
    own = {"class_names": ("ground", "cup", "pen"), "palette": ((0, 0, 0), (1, 2, 3), (4, 5, 6))}
    label = torch.tensor([[0, 1, 2, 255]] * 4, dtype=torch.uint8)
    image = IMAGE[..., :4]
    for axes in (
        plotting.show_scenes([image], [label], opacity=1, **own),
        plotting.show_predictions([image], [label], [label], opacity=1, **own),
        plotting.show_comparison([image], {"x": [label]}, [label], opacity=1, **own),
    ):
        assert legend_texts(axes[0, 0].figure) == ["cup", "pen", "void"]
        shown = axes[-1, 0].images[0].get_array()
        assert [tuple(shown[0, i]) for i in (1, 2)] == [(1, 2, 3), (4, 5, 6)]


def test_a_legend_of_255_classes_names_the_largest_and_counts_the_others():
    axes = plotting.show_scenes([PHOTO], [MANY], NAMES, palette=COLOURS)
    texts = legend_texts(axes[0, 0].figure)
    assert texts == [*(f"class {i}" for i in range(1, 24)), "and 231 more"]
    axes[0, 0].figure.canvas.draw()


def test_vocs_palette_and_the_safe_one_reach_as_far_as_the_labels():
    assert plotting.palette_for([MANY]) == classes.voc_colormap(255)
    assert len(plotting.palette_for([MANY], "safe")) == 255
    assert plotting.palette_for([MANY], COLOURS) == COLOURS


def test_of_255_bars_the_best_and_the_worst_are_drawn():
    ax = plotting.plot_class_iou(torch.linspace(0, 1, 255), NAMES)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == NAMES[:20] + NAMES[-20:]
    assert ax.get_title() == "the best 20 and the worst 20 of 255 classes"
    assert ax.lines[0].get_xdata()[0] == pytest.approx(0.5)
    assert ax.figure.get_size_inches()[1] < 12


def test_a_confusion_matrix_of_255_classes_stays_legible():
    ax = plotting.plot_confusion(torch.eye(255, dtype=torch.int64), NAMES)
    assert [text.get_text() for text in ax.get_yticklabels()] == NAMES[::7]
    assert max(ax.figure.get_size_inches()) < 13


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plotting.show_scenes([PHOTO], [MANY]),
        lambda: plotting.plot_class_iou(torch.ones(255)),
        lambda: plotting.plot_confusion(torch.eye(255)),
    ],
)
def test_a_class_without_a_name_is_an_error_that_says_what_to_give(draw):
    with pytest.raises(ValueError, match=r"class 254 .* 21; .*dataset\.classes"):
        draw()


def test_scores_may_be_drawn_on_axes_that_are_there():
    _, (left, right) = plt.subplots(1, 2)
    assert plotting.plot_class_iou(torch.rand(3), ax=left) is left
    assert plotting.plot_confusion(torch.eye(3), ax=right) is right


def test_bfloat16_which_numpy_lacks_is_drawn():
    half = torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16)
    assert plotting.to_numpy(half).tolist() == [[0.5, 1.0]]
    assert [text.get_text() for text in plotting.show_matrix(half).texts] == ["0.5", "2"]
