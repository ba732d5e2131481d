"""The callbacks are tested by the numbers and the pixels that they change."""

import io
import itertools

import ipywidgets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from d2lseg.widgets import TransposedConvExplorer, explorer
from d2lseg.widgets.explorer import State


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def oracle(state):
    """The finished output by torch."""
    X, K = state.input.float()[None, None], state.kernel.float()[None, None]
    geometry = {"stride": state.stride, "padding": state.padding, "output_padding": state.output_padding}
    return F.conv_transpose2d(X, K, **geometry)[0, 0].long()


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the drawing, which takes a quarter of a second, where numbers are enough."""
    monkeypatch.setattr(explorer, "png", lambda figure: b"")
    monkeypatch.setattr(explorer, "draw", lambda state: None)


@pytest.fixture
def drawn_once(monkeypatch):
    """Draw each state only once, and give all that were drawn, with their images."""
    draw, png, images = explorer.draw, explorer.png, {}

    def kept(state):
        if state not in images:
            images[state] = png(draw(state))
        return images[state]

    monkeypatch.setattr(explorer, "draw", lambda state: state)
    monkeypatch.setattr(explorer, "png", kept)
    return images


@pytest.mark.parametrize(
    "geometry", [(3, 3, 2, 1, 1), (3, 2, 2, 0, 0), (2, 5, 1, 2, 0), (4, 4, 4, 3, 3), (1, 1, 1, 0, 0)]
)
def test_all_stamps_together_are_the_transposed_convolution(geometry, undrawn):
    shown = TransposedConvExplorer(*geometry, step=geometry[0] ** 2)
    assert torch.equal(shown.output, oracle(shown.state))


def test_each_step_adds_one_stamp():
    states = [State(3, 3, 2, 1, 0, step) for step in range(10)]
    outputs = [explorer.canvas(state) for state in states]
    assert outputs[0][0].eq(0).all() and outputs[0][1].eq(0).all()
    for state, (before, n0), (after, n1) in zip(states[1:], outputs, outputs[1:], strict=False):
        i, j = state.cell
        want, here = torch.zeros_like(before), torch.zeros_like(before)
        want[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] = state.input[i, j] * state.kernel
        here[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] = 1
        assert torch.equal(after - before, want) and torch.equal(n1 - n0, here)


def test_a_slider_changes_state_numbers_figure_and_caption(drawn_once):
    shown = TransposedConvExplorer(step=9)
    for name, value in [
        ("kernel_size", 4),
        ("stride", 3),
        ("padding", 2),
        ("output_padding", 1),
        ("step", 4),
    ]:
        before, words = shown.image.value, shown.caption.value
        shown.sliders[name].value = value
        assert getattr(shown.state, name) == value
        assert shown.caption.value != words and shown.caption.value == explorer.describe(shown.state)
        assert (pixels(shown.image.value) != pixels(before)).any()
        assert shown.image.value == drawn_once[shown.state]
    shown.sliders["step"].value = 9
    assert torch.equal(shown.output, oracle(shown.state))


def test_the_pixels_that_change_are_those_of_the_new_stamp():
    """From stamp 1 to 2 (k1 s2 p0) the kernel panel stays and the output panel gains one blue cell."""
    before, after = (pixels(explorer.png(explorer.draw(State(3, 1, 2, 0, 0, step)))) for step in (1, 2))
    columns = np.flatnonzero((before != after).any(axis=(0, 2)))
    width = before.shape[1]
    assert not ((columns > 0.16 * width) & (columns < 0.32 * width)).any()  # the kernel panel
    assert ((columns > 0.34 * width) & (columns < 0.66 * width)).any()  # the output so far
    assert (columns > 0.67 * width).any()  # the counts


def test_padding_is_hatched_and_no_padding_is_not():
    """Grey hatching (equal r, g, b about 136) appears only where something is cut away."""

    def grey(state):
        r, g, b = np.moveaxis(pixels(explorer.png(explorer.draw(state))), 2, 0)
        return ((abs(r - 136) < 12) & (r == g) & (g == b)).sum()

    assert grey(State(3, 3, 2, 1, 0, 0)) > 10 * grey(State(3, 3, 2, 0, 0, 0)) + 100


def test_the_figure_keeps_its_size_in_every_state():
    sizes = {
        pixels(explorer.png(explorer.draw(State(2, k, s, 0, 0, 4)))).shape
        for k, s in itertools.product((1, 5), (1, 4))
    }
    assert len(sizes) == 1
    height, width, _ = sizes.pop()
    layout = TransposedConvExplorer().image.layout
    assert (layout.width, layout.height, layout.min_height) == (f"{width}px", f"{height}px", f"{height}px")


def test_sliders_never_reach_an_impossible_geometry(undrawn):
    shown = TransposedConvExplorer(input_size=1, kernel_size=5, stride=4, padding=2, output_padding=3)
    assert shown.sliders["output_padding"].max == 3
    shown.sliders["stride"].value = 1  # output_padding must be below the stride
    assert shown.state.output_padding == shown.sliders["output_padding"].value == 0
    shown.sliders["kernel_size"].value = 1  # nothing would be left with padding 2
    assert shown.state.padding == shown.sliders["padding"].value == shown.sliders["padding"].max == 0
    shown.sliders["kernel_size"].value = 5
    assert shown.sliders["padding"].max == 2


ORDERS = list(itertools.permutations(["kernel_size", "stride", "padding", "output_padding"]))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_sliders_at_their_ends_in_any_order(order, undrawn):
    shown = TransposedConvExplorer(input_size=2)
    for end in ("max", "min", "max"):
        for name in order:
            shown.sliders[name].value = getattr(shown.sliders[name], end)
            assert shown.state.output_size >= 1
            assert all(slider.value == getattr(shown.state, n) for n, slider in shown.sliders.items())


def test_one_change_draws_once(monkeypatch):
    shown, drawn = TransposedConvExplorer(stride=3, output_padding=2), []
    monkeypatch.setattr(explorer, "draw", lambda state: drawn.append(state) or explorer.Figure())
    shown.sliders["stride"].value = 1  # moves output_padding and its limit too
    assert len(drawn) == 1


def test_next_stamps_and_begins_again(undrawn):
    shown = TransposedConvExplorer(input_size=2, step=3)
    shown.next_button.click()
    assert shown.state.step == 4 and shown.state.cell == (1, 1)
    shown.next_button.click()
    assert shown.state.step == 0 and shown.state.cell is None
    assert shown.caption.value.startswith("Nothing stamped yet")


def test_caption_says_where_the_stamp_lands():
    words = explorer.describe(State(3, 3, 2, 1, 1, 6))
    assert "cell (1, 2) adds 6 x kernel to rows 2..4, columns 4..6" in words
    assert words.endswith("(3 - 1) * 2 - 2 * 1 + 3 + 1 = 6.")


def test_it_is_a_plain_widget_and_draws_without_pyplot():
    shown = TransposedConvExplorer()
    assert isinstance(shown, ipywidgets.VBox) and shown.image in shown.children
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()


def test_impossible_states_are_refused():
    with pytest.raises(ValueError, match="nothing is left"):
        State(1, 2, 1, 1, 0, 0)
    with pytest.raises(ValueError, match=r"step must be in 0\.\.4, got 5"):
        TransposedConvExplorer(input_size=2, step=5)


def test_the_animation_shows_each_step_once_and_stays_small(drawn_once):
    state = State(input_size=2, kernel_size=3, stride=2, padding=1, step=0)
    data = explorer.animation(state, seconds=0.5, rounds=2)
    image = Image.open(io.BytesIO(data))
    assert image.n_frames == 1 + 5 and image.info["loop"] == 2  # a still, then steps 0 to 4
    drawn = [pixels(explorer.png(explorer.draw(State(2, 3, 2, 1, step=step)))) for step in range(5)]
    for k, want in enumerate([drawn[4], *drawn]):
        image.seek(k)
        difference = np.abs(np.asarray(image.convert("RGB")) - want).max(axis=-1)
        assert (difference > 40).mean() < 0.005  # its palette has 64 colours
    assert image.info["duration"] == 1500 and len(data) < 500_000


@pytest.mark.slow  # ten large figures
def test_the_animation_of_notebook_01_is_under_500_kb():
    assert len(explorer.animation(State(3, 3, 2, 1))) < 500_000
