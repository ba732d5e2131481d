"""Step through a transposed convolution: one stamp for each input cell, added one at a time."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from ..upsampling import trans_conv, trans_conv_size

ORANGE, BLUE, GREY = "#d55e00", "#0072b2", "#bbbbbb"
FIGSIZE, DPI = (11.0, 4.2), 80  # the same for every state, so that nothing jumps


@dataclass(frozen=True)
class State:
    """One step of a transposed convolution.

    Parameters
    ----------
    input_size : int
        The input is input_size x input_size, filled with 1, 2, 3, ...
    kernel_size, stride, padding, output_padding : int
        The geometry. The kernel is filled with 1, 2, 3, ... as well.
    step : int
        Number of input cells that have stamped, row by row: 0..input_size ** 2.

    Raises
    ------
    ValueError
        If the geometry is impossible or the step out of range.
    """

    input_size: int = 3
    kernel_size: int = 3
    stride: int = 2
    padding: int = 1
    output_padding: int = 0
    step: int = 9

    def __post_init__(self) -> None:
        if not 0 <= self.step <= self.input_size**2:
            raise ValueError(f"step must be in 0..{self.input_size**2}, got {self.step}")
        _ = self.output_size

    @property
    def output_size(self) -> int:
        """Height and width of the output that is kept."""
        return trans_conv_size(
            self.input_size, self.kernel_size, self.stride, self.padding, self.output_padding
        )

    @property
    def cell(self) -> tuple[int, int] | None:
        """Row and column of the input cell that stamped last; None at step 0."""
        return divmod(self.step - 1, self.input_size) if self.step else None

    @property
    def input(self) -> Tensor:
        """The input, int64, (input_size, input_size)."""
        return 1 + torch.arange(self.input_size**2).reshape(self.input_size, self.input_size)

    @property
    def kernel(self) -> Tensor:
        """The kernel, int64, (kernel_size, kernel_size)."""
        return 1 + torch.arange(self.kernel_size**2).reshape(self.kernel_size, self.kernel_size)


def canvas(state: State) -> tuple[Tensor, Tensor]:
    """Return the output so far, before padding is cut off, and the number of stamps on each position.

    Returns
    -------
    output, counts : Tensor
        int64, (F, F) each, with F = output_size + 2 * padding.
    """
    stamped = (torch.arange(state.input_size**2) < state.step).long().reshape(state.input.shape)
    geometry = {"stride": state.stride, "output_padding": state.output_padding}
    output = trans_conv(state.input * stamped, state.kernel, **geometry)
    counts = trans_conv(stamped, torch.ones_like(state.kernel), **geometry)
    return output, counts


def describe(state: State) -> str:
    """Describe in words what the last stamp did, and give the size formula with its numbers."""
    n, k, s, p, op = state.input_size, state.kernel_size, state.stride, state.padding, state.output_padding
    size = f"Output size: ({n} - 1) * {s} - 2 * {p} + {k} + {op} = {state.output_size}."
    if state.cell is None:
        return f"Nothing stamped yet. {size}"
    i, j = state.cell
    rows, cols = (f"{c * s}..{c * s + k - 1}" for c in (i, j))
    return (
        f"Stamp {state.step} of {n * n}: cell ({i}, {j}) adds {int(state.input[i, j])} x kernel "
        f"to rows {rows}, columns {cols} of the full output. {size}"
    )


def draw(state: State) -> Figure:
    """Draw the input, the kernel, the output so far and the stamp counts side by side.

    The last cell and its stamp are framed in orange, and the part of the output that is kept in blue; what
    padding cuts off is hatched. Positions that no stamp has touched are empty.
    """
    figure = Figure(figsize=FIGSIZE, dpi=DPI)
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 2.2, 2.2])
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.9, wspace=0.08)
    output, counts = canvas(state)
    k, n, kept = state.kernel_size, state.input_size, state.output_size
    _cells(axes[0], state.input, f"input {n} x {n}")
    _cells(axes[1], state.kernel, f"kernel {k} x {k}")
    _cells(axes[2], output, f"output so far, {kept} x {kept} kept", counts > 0)
    _cells(axes[3], counts, "stamps on each position", counts > 0)
    for ax in axes[2:]:
        _hatch_padding(ax, len(output), state.padding)
        _frame(ax, state.padding, state.padding, kept, BLUE, linestyle="--")
    if state.cell is not None:
        i, j = state.cell
        _frame(axes[0], i, j, 1, ORANGE)
        for ax in axes[2:]:
            _frame(ax, i * state.stride, j * state.stride, k, ORANGE)
    return figure


def _cells(ax: Axes, values: Tensor, title: str, shown: Tensor | None = None) -> None:
    """Draw a square of numbers, or only those where ``shown`` is true."""
    size = len(values)
    shown = torch.ones_like(values, dtype=torch.bool) if shown is None else shown
    top = max(int(values.max()), 1)
    pale = 1.8 * max(top, 4)  # so that black numbers stay legible on the darkest cell
    ax.imshow(values.where(shown, torch.tensor(0)).numpy(), cmap="Blues", vmin=0, vmax=pale)
    fontsize = min(12, 110 / size if len(str(top)) < 3 else 84 / size)
    for row, col in shown.nonzero().tolist():
        ax.text(col, row, str(int(values[row, col])), ha="center", va="center", fontsize=fontsize)
    for edge in range(size + 1):
        ax.axhline(edge - 0.5, color=GREY, linewidth=0.5)
        ax.axvline(edge - 0.5, color=GREY, linewidth=0.5)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
    ax.set(xlim=(-0.6, size - 0.4), ylim=(size - 0.4, -0.6))


def _frame(ax: Axes, row: int, col: int, size: int, colour: str, **options: Any) -> None:
    """Frame a square of cells."""
    ax.add_patch(
        Rectangle((col - 0.5, row - 0.5), size, size, fill=False, edgecolor=colour, linewidth=2.5, **options)
    )


def _hatch_padding(ax: Axes, size: int, padding: int) -> None:
    """Hatch the four strips that padding cuts off."""
    if not padding:
        return
    inner = size - 2 * padding
    strips = [(0, 0, padding, size), (size - padding, 0, padding, size)]
    strips += [(padding, 0, inner, padding), (padding, size - padding, inner, padding)]
    for row, col, height, width in strips:
        corner = (col - 0.5, row - 0.5)
        strip = Rectangle(
            corner, width, height, facecolor="#00000022", edgecolor="#888888", hatch="///", linewidth=0
        )
        ax.add_patch(strip)


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def animation(state: State, seconds: float = 0.8, rounds: int = 5) -> bytes:
    """Draw every step of a geometry as the bytes of an animated PNG, from the empty canvas to the last stamp.

    Where animations do not run, as on paper, it shows the last stamp.

    Parameters
    ----------
    state
        Its ``step`` does not count.
    seconds
        How long each step stays; the last one stays three times as long.
    rounds
        How often it runs before it stops at the last step.
    """
    steps = [replace(state, step=step) for step in range(state.input_size**2 + 1)]
    frames = [Image.open(io.BytesIO(png(draw(step)))).convert("RGB") for step in steps]
    colours = frames[-1].quantize(64)  # every frame has to use the same palette
    still, *moving = [
        frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in frames[-1:] + frames
    ]
    times = [int(1000 * seconds)] * (len(moving) - 1) + [int(3000 * seconds)]
    buffer = io.BytesIO()
    still.save(
        buffer, "png", save_all=True, append_images=moving, default_image=True, duration=times, loop=rounds
    )
    return buffer.getvalue()


class TransposedConvExplorer(widgets.VBox):
    """Sliders for the geometry of a transposed convolution and for the stamps made so far.

    Parameters
    ----------
    input_size, kernel_size, stride, padding, output_padding : int
        Initial geometry; the sliders allow kernels up to 5 and strides up to 4.
    step : int
        Number of input cells that have stamped at the start.

    Raises
    ------
    ValueError
        If the geometry is impossible or the step out of range.

    Notes
    -----
    The attribute ``state`` holds the current `State`, and ``output`` the numbers shown. ``draw(state)`` makes
    the same figure without a widget.
    """

    def __init__(
        self,
        input_size: int = 3,
        kernel_size: int = 3,
        stride: int = 2,
        padding: int = 1,
        output_padding: int = 0,
        step: int = 1,
    ) -> None:
        self.state = State(input_size, kernel_size, stride, padding, output_padding, step)
        limits = {"kernel_size": (1, 5), "stride": (1, 4), "padding": (0, padding)}
        limits |= {"output_padding": (0, stride - 1), "step": (0, input_size**2)}
        self.sliders = {name: self._slider(name, *limits[name]) for name in limits}
        self.next_button = widgets.Button(description="next stamp", layout={"width": "110px"})
        self.next_button.on_click(self._on_next)
        width, height = (f"{int(inches * DPI)}px" for inches in FIGSIZE)
        size = {"width": width, "height": height, "min_height": height}
        self.image = widgets.Image(format="png", layout=size)
        self.caption = widgets.HTML(layout={"height": "32px"})
        self._busy = False
        self._show()
        rows = [("kernel_size", "stride"), ("padding", "output_padding")]
        boxes = [widgets.HBox([self.sliders[name] for name in row]) for row in rows]
        boxes.append(widgets.HBox([self.sliders["step"], self.next_button]))
        super().__init__([*boxes, self.image, self.caption])

    @property
    def output(self) -> Tensor:
        """The output so far without what padding cuts off, int64, (output_size, output_size)."""
        kept = slice(self.state.padding, self.state.padding + self.state.output_size)
        return canvas(self.state)[0][kept, kept]

    def _slider(self, name: str, low: int, high: int) -> widgets.IntSlider:
        """Make a slider that changes one field of the state."""
        slider = widgets.IntSlider(
            getattr(self.state, name),
            low,
            high,
            description="stamps" if name == "step" else name.replace("_", " "),
            style={"description_width": "110px"},
            layout={"width": "360px"},
        )
        slider.observe(self._on_slider, names="value")
        return slider

    def _on_slider(self, _change: dict) -> None:
        """Copy the sliders into the state, with padding no wider than the output allows."""
        if self._busy:
            return
        values = {name: slider.value for name, slider in self.sliders.items()}
        values["output_padding"] = min(values["output_padding"], values["stride"] - 1)
        full = trans_conv_size(
            self.state.input_size, values["kernel_size"], values["stride"], 0, values["output_padding"]
        )
        values["padding"] = min(values["padding"], (full - 1) // 2)
        self.state = replace(self.state, **values)
        self._show()

    def _on_next(self, _button: widgets.Button) -> None:
        """Stamp the next cell; start over after the last."""
        slider = self.sliders["step"]
        slider.value = (slider.value + 1) % (slider.max + 1)

    def _show(self) -> None:
        """Update the sliders, the figure and the caption to match the state."""
        state = self.state
        full = state.output_size + 2 * state.padding
        self._busy = True  # moving a slider from here must not redraw
        self.sliders["padding"].max = min(3, (full - 1) // 2)
        self.sliders["output_padding"].max = state.stride - 1
        for name, slider in self.sliders.items():
            slider.value = getattr(state, name)
        self._busy = False
        self.image.value = png(draw(state))
        self.caption.value = describe(state)
