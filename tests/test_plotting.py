import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from d2lseg import plotting, voc

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
    for picture, label in zip(shown[1:], (LABEL * 0 + 8, LABEL * 0, LABEL), strict=True):
        assert np.array_equal(picture, plotting.to_numpy(plotting.overlay(IMAGE, label, 0.75)))
    assert legend_texts(axes[0, 0].figure) == ["cat", "person", "void"]


def test_show_comparison_refuses_a_row_that_is_too_short():
    with pytest.raises(ValueError, match="'16s' holds 1 labels for 2 images"):
        plotting.show_comparison([IMAGE, IMAGE], {"16s": [LABEL]}, [LABEL, LABEL])


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
