"""The depthwise convolution is torch's, whatever way its gradients are made."""

import pytest
import torch
import torch.nn.functional as F

from biformer_lit.ops.depthwise import depthwise_conv2d


def case(size, height, width, dtype, channels_last=True):
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(2, 6, height, width, generator=generator, dtype=dtype)
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    weight = torch.randn(6, 1, size, size, generator=generator, dtype=dtype)
    bias = torch.randn(6, generator=generator, dtype=dtype)
    return [t.requires_grad_() for t in (x, weight, bias)]


def gradients(function, tensors):
    out = function(*tensors)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out, *torch.autograd.grad(out, tensors, weight)]


def plain(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("height", "width"), [(9, 12), (3, 2), (1, 1), (2, 9)])
@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_equals_torch_s(size, height, width, channels_last):
    tensors = case(size, height, width, torch.float64, channels_last)
    for found, wanted in zip(gradients(depthwise_conv2d, tensors), gradients(plain, tensors), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_lower_precision(dtype, tolerance):
    tensors = case(5, 14, 14, dtype)
    exact = gradients(plain, [t.detach().double().requires_grad_() for t in tensors])
    for found, wanted in zip(gradients(depthwise_conv2d, tensors), exact, strict=True):
        assert found.dtype == dtype
        assert (found.double() - wanted).norm() <= tolerance * wanted.norm()


def test_autocast_is_that_of_a_convolution():
    tensors = case(5, 8, 8, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, wanted = gradients(depthwise_conv2d, tensors), gradients(plain, tensors)
    assert found[0].dtype == wanted[0].dtype == torch.bfloat16
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        assert (a.float() - b.float()).norm() <= 2e-2 * b.float().norm()


def test_only_what_is_asked_for():
    x, weight, _ = case(5, 8, 8, torch.float64)
    assert depthwise_conv2d(x.detach(), weight, None).requires_grad
    depthwise_conv2d(x.detach(), weight, None).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


def test_compiles_whole():
    tensors = case(5, 8, 8, torch.float64)
    compiled = torch.compile(depthwise_conv2d, fullgraph=True, backend="aot_eager")
    for found, wanted in zip(gradients(compiled, tensors), gradients(plain, tensors), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    torch.compiler.reset()
