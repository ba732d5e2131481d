import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lseg import fcn
from d2lseg.engine import losses
from d2lseg.upsampling import bilinear_matrix


def scene(n, classes, h, w, factor, void=0.2, seed=0):
    g = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(n, classes, h, w, generator=g)
    label = torch.randint(classes, (n, h * factor, w * factor), generator=g)
    label[torch.rand(label.shape, generator=g) < void] = 255
    return scores.requires_grad_(), label.to(torch.uint8)


def oracle(scores, label, factor):
    """Enlarge with torch and sum with torch, all logits at once."""
    logits = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    logits = logits[..., : label.shape[1], : label.shape[2]]
    return F.cross_entropy(logits, label.long(), ignore_index=255, reduction="sum")


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 3), st.integers(2, 6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 9),
    st.sampled_from([1, 2**7, 2**18]), st.data(),
)  # fmt: skip
def test_the_loss_in_bands_equals_torch_on_all_logits(n, classes, h, w, factor, band, data):
    scores, label = scene(n, classes, h, w, factor, void=data.draw(st.sampled_from([0.0, 0.3, 1.0])))
    # the picture may end before the last block does, as after padding
    height, width = data.draw(st.integers(1, h * factor)), data.draw(st.integers(1, w * factor))
    label = label[:, :height, :width]
    U_h, U_w = bilinear_matrix(h, factor)[:height], bilinear_matrix(w, factor)[:width]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "_BAND", {"cpu": band, "cuda": band})
        ours = losses.upsampled_loss(scores, U_h, U_w, label)
    want = oracle(scores, label, factor)
    torch.testing.assert_close(ours, want, rtol=1e-5, atol=1e-4)
    gradients = [torch.autograd.grad(3 * loss, scores)[0] for loss in (ours, want)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_the_gradient_by_finite_differences():
    scores, label = scene(1, 3, 2, 3, 4)
    U_h, U_w = bilinear_matrix(2, 4), bilinear_matrix(3, 4)
    (gradient,) = torch.autograd.grad(losses.upsampled_loss(scores, U_h, U_w, label), scores)
    with torch.no_grad():
        for place in [(0, 0, 0, 0), (0, 2, 1, 2), (0, 1, 0, 1)]:
            step = torch.zeros_like(scores)
            step[place] = 0.05
            up, down = (losses.upsampled_loss(scores + s, U_h, U_w, label) for s in (step, -step))
            assert float(up - down) / 0.1 == pytest.approx(float(gradient[place]), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_in_half_precision_lose_nothing_but_their_own_rounding(dtype):
    scores, label = scene(2, 4, 3, 3, 8)
    rounded = scores.detach().to(dtype).requires_grad_()
    U = bilinear_matrix(3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # must not reach the softmax
        ours = losses.upsampled_loss(rounded, U, U, label)
    exact = rounded.detach().float().requires_grad_()
    want = oracle(exact, label, 8)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, want, rtol=1e-5, atol=1e-4)
    gradient = torch.autograd.grad(ours, rounded)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(want, exact)[0].to(dtype))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_loss_is_the_same(mode):
    scores, label = scene(2, 3, 2, 2, 8)
    U = bilinear_matrix(2, 8)
    with mode():
        ours = losses.upsampled_loss(scores, U, U, label)
    assert not ours.requires_grad
    torch.testing.assert_close(ours, oracle(scores, label, 8).detach())


@pytest.mark.parametrize("upsampling", fcn.UPSAMPLINGS)
@pytest.mark.parametrize("variant", fcn.VARIANTS)
def test_a_model_with_labels_gives_the_loss_of_its_logits(variant, upsampling):
    torch.manual_seed(0)
    model = fcn.FCN(variant, 4, upsampling=upsampling).eval()
    images = torch.randint(256, (2, 3, 45, 70), dtype=torch.uint8)
    labels = torch.randint(4, (2, 45, 70))
    labels[0, :20] = 255
    ours, want = model(images, labels), losses.summed_loss(model(images), labels)
    torch.testing.assert_close(ours, want)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in (ours, want)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max() + 1))


def test_the_logits_never_exist_at_once(monkeypatch):
    """The largest tensor that the loss makes is a band, not the batch's logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **kwargs or {})
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, torch.Tensor):
                    self.size = max(self.size, tensor.numel())
            return out

    monkeypatch.setattr(losses, "_BAND", {"cpu": 2**18, "cuda": 2**18})
    scores, label = scene(4, 21, 6, 8, 32)
    pixels = label.numel()
    with Largest() as seen:
        losses.upsampled_loss(scores, bilinear_matrix(6, 32), bilinear_matrix(8, 32), label).backward()
    assert seen.size <= 2**18 + 21 * 8 * 32
    with Largest() as seen:
        losses.summed_loss(F.interpolate(scores, scale_factor=32, mode="bilinear"), label)
    assert seen.size >= 21 * pixels  # the measure sees what it should


def test_labels_of_another_size_are_refused():
    images = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"expected labels \(2, 40, 40\).*got \(2, 40, 41\)"):
        fcn.FCN32s(3).eval()(images, torch.zeros(2, 40, 41, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_labels_out_of_range_are_named_before_anything_is_computed(dtype):
    scores, label = scene(2, 5, 2, 3, 8)
    label = label.to(dtype)
    label[1, 3, 4] = 5
    matrices = bilinear_matrix(2, 8), bilinear_matrix(3, 8)
    for loss in (
        lambda: losses.upsampled_loss(scores, *matrices, label),
        lambda: losses.summed_loss(F.interpolate(scores, scale_factor=8), label),
    ):
        with pytest.raises(ValueError, match=r"class index 5 at \(1, 3, 4\); expected 0\.\.4, or 255"):
            loss()
    losses.check_labels(label, 6)


def test_labels_that_are_not_on_the_cpu_are_not_waited_for():
    assert losses.check_labels(torch.empty(2, 3, dtype=torch.uint8, device="meta"), 1) is None
