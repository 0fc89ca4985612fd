import psutil
import pytest
import torch

from compressor.models.compute import (
    Compute,
    autocast,
    same_bits,
    teacher_dtype,
    training_dtype,
    within_memory,
)
from runtime.errors import MissingDependencyError

CPU = Compute(torch.device("cpu"), workers=0)
GPU = Compute(torch.device("cuda"), workers=0)


def of_teacher(wanted, compute):
    return teacher_dtype(wanted, compute, transformer=True)


both = pytest.mark.parametrize(
    ("dtype_of", "key"),
    [(training_dtype, "distill.precision"), (of_teacher, "distill.teacher_precision")],
    ids=["student", "teacher"],
)


@pytest.fixture
def processor(monkeypatch):
    """Say what the processor can do."""

    def processor(**able):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **able})

    return processor


@both
def test_on_a_cpu_float32_and_bf16_are_there_to_be_chosen(dtype_of, key):
    assert dtype_of("fp32", CPU) is None
    assert dtype_of("bf16", CPU) is torch.bfloat16


@both
def test_half_precision_on_a_cpu_is_refused_with_the_key_to_change(dtype_of, key):
    with pytest.raises(MissingDependencyError) as told:
        dtype_of("fp16", CPU)
    assert str(told.value) == f"{key} is fp16, which needs a GPU; use fp32, bf16 or auto"


@pytest.mark.parametrize("able", [{}, {"avx512_bf16": True, "amx_bf16": True}])
def test_a_student_learns_in_float32_on_a_cpu_whatever_it_can_do(processor, able):
    processor(**able)
    assert training_dtype("auto", CPU) is None


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, None),  # another processor does not have the keys at all
        ({"avx512_bf16": False, "amx_bf16": False}, None),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_a_transformer_teaches_in_bf16_where_the_processor_computes_in_it(
    processor, able, expected
):
    processor(**able)
    assert teacher_dtype("auto", CPU, transformer=True) is expected
    assert teacher_dtype("auto", CPU, transformer=False) is None


def test_what_is_asked_for_does_not_depend_on_the_processor(processor):
    processor()
    assert teacher_dtype("bf16", CPU, transformer=False) is torch.bfloat16
    processor(avx512_bf16=True)
    assert teacher_dtype("fp32", CPU, transformer=True) is None


def test_what_auto_chooses_is_what_this_machine_then_computes_in():
    dtype = teacher_dtype("auto", CPU, transformer=True)
    with torch.inference_mode(), autocast(dtype, CPU):
        computed = torch.nn.Linear(4, 4)(torch.ones(1, 4))
    assert computed.dtype is (dtype or torch.float32)


@both
@pytest.mark.parametrize("has_bf16", [True, False])
def test_on_a_gpu(monkeypatch, dtype_of, key, has_bf16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert dtype_of("auto", GPU) is (torch.bfloat16 if has_bf16 else torch.float16)
    assert dtype_of("fp32", GPU) is None
    assert dtype_of("fp16", GPU) is torch.float16
    if has_bf16:
        assert dtype_of("bf16", GPU) is torch.bfloat16
    else:
        with pytest.raises(MissingDependencyError, match=rf"^{key} is bf16, which this GPU lacks"):
            dtype_of("bf16", GPU)


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert teacher_dtype("auto", CPU, transformer=True) is None


def test_float32_on_a_gpu_is_not_tensorfloat32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Compute.choose("cpu", 0).on_gpu is False
    assert torch.backends.cudnn.allow_tf32
    assert Compute.choose("auto", 0).on_gpu
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("wanted", [False, True])
def test_algorithms_of_the_same_bits_are_asked_for_and_for_no_longer(wanted):
    with same_bits(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
    with pytest.raises(RuntimeError, match="a fault"), same_bits(wanted):
        raise RuntimeError("a fault")
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.fixture
def full_gpu(monkeypatch):
    """A GPU of 48 GB with 8 free, on which nothing more can be allocated."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 * 10**9, 48 * 10**9))
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


def test_a_full_gpu_is_told_with_the_way_out_and_other_errors_are_not(full_gpu):
    with pytest.raises(MissingDependencyError) as told, within_memory(32, "a smaller batch"):
        raise full_gpu
    said = str(told.value)
    assert "memory is full (40.0 of 48.0 GB in use, batch 32): a smaller batch." in said
    assert "nvidia-smi" in said
    assert told.value.exit_code == 3
    with pytest.raises(RuntimeError, match="shapes"), within_memory(32, "a smaller batch"):
        raise RuntimeError("shapes differ")


def test_a_teacher_that_does_not_fit_is_told_with_its_batch(full_gpu, tmp_path):
    from PIL import Image

    from compressor.models.embed import embed
    from compressor.models.encoder import create_student
    from compressor.recipe.schema import Student

    spec = Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16)
    encoder, path = create_student(spec, seed=0), tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(path)

    def full(module, inputs):
        raise full_gpu

    encoder.module.register_forward_pre_hook(full)
    with pytest.raises(MissingDependencyError, match=r"batch 3\): a smaller image_size"):
        embed(encoder, [path] * 3, CPU, label="images")


def test_cuda_is_never_replaced_in_silence():
    assert Compute.choose("cpu", 3) == Compute(CPU.device, 3)
    if torch.cuda.is_available():
        assert Compute.choose("cuda", None).device.type == "cuda"
    else:
        assert Compute.choose("auto", None).device.type == "cpu"
        with pytest.raises(MissingDependencyError, match=r"distill.device is cuda"):
            Compute.choose("cuda", None)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (7, 7), (64, 16)])
def test_workers_follow_from_the_cores_this_process_may_use(monkeypatch, cores, threads):
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [*range(cores)])
    assert Compute.choose("cpu", None).workers == threads
    assert Compute.choose("cpu", 0).workers == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # put back afterwards
    for device in ("cuda", "auto"):
        assert Compute.choose(device, None) == Compute(torch.device("cuda"), threads)
    assert Compute.choose("cpu", None).device.type == "cpu"
