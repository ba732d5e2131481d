"""Oracles: F.conv_transpose2d, F.conv2d, F.interpolate, and identities."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lseg import upsampling
from d2lseg.upsampling import BilinearUpsample

FACTORS = range(2, 33)
SIZES = [(1, 1), (1, 4), (3, 2), (5, 7)]
close = torch.testing.assert_close


@st.composite
def geometries(draw):
    """A geometry that leaves at least one output position: (size pair, kernel pair, s, p, op)."""
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride, padding = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    output_padding = draw(st.integers(0, stride - 1))
    full = min((n - 1) * stride + k + output_padding for n, k in zip(size, kernel, strict=True))
    return size, kernel, stride, min(padding, (full - 1) // 2), output_padding


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# transposed convolution ------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(geometries(), st.integers(1, 3), st.integers(1, 3))
def test_trans_conv_equals_torch(geometry, c_in, c_out):
    size, kernel, s, p, op = geometry
    X, K = rand(c_in, *size), rand(c_in, c_out, *kernel, seed=1)
    got = upsampling.trans_conv(X, K, s, p, op)
    close(got, F.conv_transpose2d(X[None], K, stride=s, padding=p, output_padding=op)[0])
    sizes = [upsampling.trans_conv_size(n, k, s, p, op) for n, k in zip(size, kernel, strict=True)]
    assert list(got.shape[1:]) == sizes


def test_trans_conv_of_the_textbook_example():
    X = K = torch.tensor([[0, 1], [2, 3]])
    assert upsampling.trans_conv(X, K).tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
    strided = [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]
    assert upsampling.trans_conv(X, K, stride=2).tolist() == strided
    assert upsampling.trans_conv(X, K, padding=1).tolist() == [[4]]


def test_trans_conv_gradient_equals_torch():
    ours = [rand(2, 3, 4).requires_grad_(), rand(2, 3, 3, 3, seed=1).requires_grad_()]
    theirs = [t.detach().clone().requires_grad_() for t in ours]
    weight = rand(3, 6, 8, seed=2)
    (upsampling.trans_conv(*ours, stride=2, padding=1, output_padding=1) * weight).sum().backward()
    want = F.conv_transpose2d(theirs[0][None], theirs[1], stride=2, padding=1, output_padding=1)[0]
    (want * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        close(a.grad, b.grad)


@pytest.mark.parametrize("X, K", [((2, 3, 3), (3, 1, 2, 2)), ((3, 3), (1, 1, 2, 2)), ((1, 3, 3), (2, 2))])
def test_trans_conv_refuses_shapes_that_do_not_fit(X, K):
    with pytest.raises(ValueError, match=r"expected \(H, W\) with"):
        upsampling.trans_conv(torch.zeros(X), torch.zeros(K))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((4, 0), "kernel_size is 0"),
        ((4, 3, 0), "stride is 0"),
        ((4, 3, 2, -1), "padding is -1"),
        ((4, 3, 2, 0, 2), "smaller than the stride"),
        ((4, 3, 2, 0, -1), "output_padding is -1"),
        ((0, 3), "nothing is left"),
        ((1, 2, 1, 1), "nothing is left"),
    ],
)
def test_impossible_geometry_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        upsampling.trans_conv_size(*arguments)


def test_output_padding_names_every_size_that_a_strided_convolution_merges():
    """Conv k3 s2 p1 maps 15 and 16 to 8: without output_padding the way back gives 15 only."""
    for n in (15, 16):
        assert F.conv2d(torch.zeros(1, 1, n, n), torch.zeros(1, 1, 3, 3), stride=2, padding=1).shape[-1] == 8
    assert [upsampling.trans_conv_size(8, 3, 2, 1, op) for op in (0, 1)] == [15, 16]


# matrix form -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_matrix_is_the_convolution_and_its_transpose_the_adjoint(size, kernel, s, p):
    K, x = rand(*kernel), rand(*size, seed=1)
    if size[0] + 2 * p < kernel[0] or size[1] + 2 * p < kernel[1]:
        with pytest.raises(ValueError, match="does not fit"):
            upsampling.kernel2matrix(K, size, s, p)
        return
    W = upsampling.kernel2matrix(K, size, s, p)
    conv = F.conv2d(x[None, None], K[None, None], stride=s, padding=p)[0, 0]
    close(W @ x.flatten(), conv.flatten())
    y = rand(*conv.shape, seed=2)
    back = torch.autograd.functional.vjp(
        lambda t: F.conv2d(t[None, None], K[None, None], stride=s, padding=p)[0, 0], x, y
    )[1]
    close((W.T @ y.flatten()).reshape(size), back)
    close((conv * y).sum(), (x * back).sum())  # <Wx, y> = <x, W'y>


def test_transpose_of_the_matrix_is_trans_conv():
    K, y = rand(3, 3), rand(4, 5, seed=1)
    h, w = (upsampling.trans_conv_size(n, 3, 2, 1, 1) for n in y.shape)
    W = upsampling.kernel2matrix(K, (h, w), stride=2, padding=1)
    close((W.T @ y.flatten()).reshape(h, w), upsampling.trans_conv(y, K, 2, 1, 1))
    close(upsampling.kernel2matrix(K, 4), upsampling.kernel2matrix(K, (4, 4)))


def test_kernel2matrix_refuses_channels():
    with pytest.raises(ValueError, match=r"\(1, 1, 3, 3\)"):
        upsampling.kernel2matrix(torch.zeros(1, 1, 3, 3), 4)


# geometry --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(geometries())
def test_counts_are_a_transposed_convolution_of_ones(geometry):
    (n, _), (k, _), s, p, _ = geometry
    p = min(p, ((n - 1) * s + k - 1) // 2)
    want = F.conv_transpose1d(torch.ones(1, 1, n), torch.ones(1, 1, k), stride=s, padding=p)[0, 0]
    got = upsampling.overlap_counts(n, k, s, p)
    assert got.dtype == torch.int64 and got.tolist() == want.tolist()


@settings(deadline=None, max_examples=60)
@given(geometries())
def test_centres_are_the_centre_of_mass_of_each_stamp(geometry):
    (n, _), (k, _), s, p, _ = geometry
    canvas = F.conv_transpose1d(torch.eye(n)[:, None], torch.ones(1, 1, k), stride=s)[:, 0]  # (n, full)
    want = (canvas * torch.arange(canvas.shape[1])).sum(1) / canvas.sum(1) - p
    if (n - 1) * s + k - 2 * p >= 1:
        close(upsampling.cell_centres(n, k, s, p), want)


def test_centres_of_the_x32_layer():
    assert upsampling.cell_centres(3, 64, 32, 16).tolist() == [15.5, 47.5, 79.5]


# bilinear --------------------------------------------------------------------------------------


def test_kernel_of_factor_two():
    want = torch.tensor([1.0, 3, 3, 1]) / 4
    assert torch.equal(upsampling.bilinear_kernel(1, 1, 4)[0, 0], torch.outer(want, want))


@pytest.mark.parametrize("factor", FACTORS)
def test_hat_is_a_partition_of_unity(factor):
    """Stamps of a constant input sum to one away from the border."""
    k, p = upsampling.bilinear_geometry(factor)
    ones = F.conv_transpose2d(
        torch.ones(1, 1, 5, 5), upsampling.bilinear_kernel(1, 1, k), stride=factor, padding=p
    )
    assert ones.shape[-1] == 5 * factor
    close(ones[..., factor:-factor, factor:-factor], torch.ones(1, 1, 3 * factor, 3 * factor))


def test_fade_is_a_half_at_the_edge_and_a_quarter_in_the_corner():
    y = BilinearUpsample(32, "fade")(torch.ones(1, 1, 3, 3))[0, 0]
    assert y[48, 0] == pytest.approx(0.5, abs=0.02) and y[0, 0] == pytest.approx(0.25, abs=0.02)
    assert y[48, 48] == 1


def test_kernel_is_diagonal_and_refuses_unequal_channels():
    weight = upsampling.bilinear_kernel(3, 3, 5)
    assert weight.shape == (3, 3, 5, 5) and weight.sum((2, 3)).gt(0).equal(torch.eye(3).bool())
    for channels in ((3, 5), (5, 3)):
        with pytest.raises(ValueError, match="1x1 convolution first"):
            upsampling.bilinear_kernel(*channels, 4)
    for bad in ((0, 0, 4), (1, 1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            upsampling.bilinear_kernel(*bad)


def test_geometry_of_known_factors():
    assert [upsampling.bilinear_geometry(f) for f in (1, 2, 3, 8, 32)] == [
        (1, 0),
        (4, 1),
        (5, 1),
        (16, 4),
        (64, 16),
    ]
    with pytest.raises(ValueError, match="factor is 0"):
        upsampling.bilinear_geometry(0)


def upsample_both(factor, border, Z):
    """Our layer and its oracle."""
    if border == "replicate":
        want = F.interpolate(Z, scale_factor=factor, mode="bilinear", align_corners=False)
    else:
        want = upsampling.bilinear_conv_transpose(Z.shape[1], factor).to(Z.dtype)(Z)
    return BilinearUpsample(factor, border)(Z), want


@pytest.mark.parametrize("border", upsampling.BORDERS)
@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_equals_its_oracle_with_gradient(factor, border):
    for i, size in enumerate(SIZES):
        Z = rand(2, 3, *size, seed=i, dtype=torch.float32)
        ours, theirs = Z.clone().requires_grad_(), Z.clone().requires_grad_()
        got, _ = upsample_both(factor, border, ours)
        _, want = upsample_both(factor, border, theirs)
        assert got.shape == (2, 3, size[0] * factor, size[1] * factor)
        close(got, want, atol=1e-5, rtol=0)
        cotangent = rand(*got.shape, seed=9, dtype=torch.float32)
        (grad,) = torch.autograd.grad(got, ours, cotangent)
        (want_grad,) = torch.autograd.grad(want, theirs, cotangent)
        close(grad, want_grad, atol=1e-5 * factor**2, rtol=0)  # a gradient sums about factor**2 terms


def test_the_comparison_can_fail():
    """The two borders differ, so each oracle refuses the other layer."""
    Z = torch.ones(1, 1, 3, 3)
    got, _ = upsample_both(4, "fade", Z)
    _, want = upsample_both(4, "replicate", Z)
    with pytest.raises(AssertionError):
        close(got, want, atol=1e-5, rtol=0)


def test_factor_one_is_the_identity():
    Z = rand(1, 2, 3, 4)
    for border in upsampling.BORDERS:
        close(BilinearUpsample(1, border)(Z), Z)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 12))
def test_rows_of_the_matrix(size, factor):
    replicate = upsampling.bilinear_matrix(size, factor)
    assert replicate.shape == (size * factor, size) and (replicate != 0).sum(1).le(2).all()
    close(replicate.sum(1), torch.ones(size * factor))
    fade = upsampling.bilinear_matrix(size, factor, "fade")
    assert torch.equal(
        fade[factor // 2 : -(factor // 2) or None], replicate[factor // 2 : -(factor // 2) or None]
    )
    assert (fade <= replicate).all()


def test_channels_last_float64_and_a_view_as_input():
    Z = rand(2, 3, 4, 5)
    layer = BilinearUpsample(8)
    want = F.interpolate(Z, scale_factor=8, mode="bilinear")
    close(layer(Z.contiguous(memory_format=torch.channels_last)), want, atol=1e-6, rtol=0)
    close(layer(Z.transpose(2, 3)).transpose(2, 3), want, atol=1e-6, rtol=0)
    assert layer(Z).dtype == torch.float64


def test_bf16_autocast():
    Z = rand(2, 3, 4, 5, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = BilinearUpsample(32)(Z)
    assert got.dtype == torch.bfloat16
    close(got.float(), F.interpolate(Z, scale_factor=32, mode="bilinear"), atol=0.05, rtol=0.02)
    close(BilinearUpsample(32)(Z.bfloat16()), got)


def test_nothing_to_train_and_nothing_saved():
    layer = BilinearUpsample(4)
    layer(torch.zeros(1, 1, 2, 3))
    assert not list(layer.parameters()) and not layer.state_dict()
    assert repr(layer) == "BilinearUpsample(factor=4, border='replicate')"


def test_copies_and_pickles_leave_the_matrices_behind():
    layer, Z = BilinearUpsample(4, "fade"), rand(1, 1, 2, 3)
    want = layer(Z)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for twin in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(buffer, weights_only=False),
    ):
        assert not twin._matrices and torch.equal(twin(Z), want)
    assert layer._matrices


def test_kept_matrices_are_bounded_and_do_not_mix():
    layer = BilinearUpsample(2)
    for n in range(1, 40):
        Z = rand(1, 1, n, n)
        close(layer(Z), F.interpolate(Z, scale_factor=2, mode="bilinear"), atol=1e-6, rtol=0)
    assert len(layer._matrices) <= layer._KEEP


def test_a_matrix_first_made_in_inference_mode_can_be_trained_through():
    layer, Z = BilinearUpsample(2), rand(1, 1, 2, 2)
    with torch.inference_mode():
        layer(Z.clone())
    Z.requires_grad_()
    layer(Z).sum().backward()
    close(Z.grad, torch.full_like(Z, 4.0))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"expected \(N, C, h, w\)"):
        BilinearUpsample(2)(torch.zeros(3, 4, 4))
    with pytest.raises(TypeError, match="uint8"):
        BilinearUpsample(2)(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="'mirror'"):
        BilinearUpsample(2, "mirror")
    with pytest.raises(ValueError, match="factor"):
        BilinearUpsample(0)


def test_the_trainable_layer_starts_bilinear_without_a_bias_and_trains():
    layer = upsampling.bilinear_conv_transpose(2, 3)
    assert layer.bias is None and layer.weight.requires_grad
    assert torch.equal(layer.weight, upsampling.bilinear_kernel(2, 2, 5))
    layer(torch.ones(1, 2, 3, 3)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("factor", [1, 2, 3, 8, 32])
def test_corner_centre_equals_an_odd_transposed_convolution_and_grid_sample(factor):
    Z = rand(2, 3, 4, 5, dtype=torch.float32)
    fade = BilinearUpsample(factor, "fade", centre=0)(Z)
    close(fade, upsampling.bilinear_conv_transpose(3, factor, centre=0)(Z), atol=1e-5, rtol=0)
    # an oracle that never heard of kernels: read Z at position j / factor, in grid_sample's units
    places = [2 * torch.arange(n * factor) / factor / (n - 1) - 1 for n in (4, 5)]
    grid = torch.stack(torch.meshgrid(*places, indexing="ij")[::-1], dim=-1).expand(2, -1, -1, -1)
    want = F.grid_sample(Z, grid, padding_mode="border", align_corners=True)
    close(BilinearUpsample(factor, centre=0)(Z), want, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 12), st.floats(0, 1))
def test_each_cell_is_centred_where_it_is_told(size, factor, share):
    centre = share * (factor - 1)
    U = upsampling.bilinear_matrix(size, factor, centre=centre).double()
    close(U.sum(1), torch.ones(size * factor, dtype=torch.float64), atol=1e-6, rtol=0)
    # enlarging the cells' numbers gives each position's place among the cells, flat past the outer centres
    place = (torch.arange(size * factor) - centre) / factor
    close(U @ torch.arange(size).double(), place.clamp(0, size - 1).double(), atol=1e-5, rtol=0)


def test_default_centre_is_the_middle_of_the_block():
    assert torch.equal(upsampling.bilinear_matrix(3, 8), upsampling.bilinear_matrix(3, 8, centre=3.5))
    assert repr(BilinearUpsample(8, centre=0)) == "BilinearUpsample(factor=8, border='replicate', centre=0)"


@pytest.mark.parametrize("centre", [-0.5, 8, 7.01])
def test_a_centre_outside_its_block_is_refused(centre):
    with pytest.raises(ValueError, match=r"must lie in 0\.\.7"):
        BilinearUpsample(8, centre=centre)
    with pytest.raises(ValueError, match=r"has 0 or 3\.5 here"):
        upsampling.bilinear_conv_transpose(2, 8, centre=centre)
