"""The builder's half of the stand-in for `tensorrt`: flags, profiles, timing caches, the inspector.

Give it to a stand-in module with `add_builder`. What was asked of the last build stands in
`trt.built`; what the inspector is to list, in `trt.layers`.
"""

import json
from types import SimpleNamespace

from stand_in_tensorrt import engine_text


class TimingCache:
    """Times of a version and a GPU, which stand in its first line."""

    def __init__(self, of, times):
        self.of, self.times = of, times

    def serialize(self):
        return json.dumps([self.of, self.times]).encode()


class Config:
    """A builder's configuration, as strict as TensorRT's about timing caches."""

    profiling_verbosity = progress_monitor = None

    def __init__(self, trt):
        self.trt, self.flags = trt, {"TF32"}  # on by default
        self.pools, self.profiles, self.cache = {}, [], None

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_compute_capability(self, capability, number):
        self.trt.built_for = capability

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return 0

    def create_timing_cache(self, content):
        if not content:
            return TimingCache(self.trt.identity, {})
        try:
            return TimingCache(*json.loads(content))
        except ValueError:
            return None

    def set_timing_cache(self, cache, *, ignore_mismatch):
        if not isinstance(cache, TimingCache):
            raise TypeError("incompatible function arguments")
        if cache.of != self.trt.identity and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache


def add_builder(trt, monkeypatch):
    """Let a stand-in module build engines too."""
    trt.built, trt.identity, trt.no_plan = None, [trt.__version__, "Stand-in GPU"], False
    trt.layers = [{"Name": "conv", "LayerType": "Convolution",
                   "Weights": {"Type": "Float", "Count": 432}}]  # fmt: skip

    def build(network, config):
        if trt.no_plan:
            return None
        if config.cache is not None:
            config.cache.times["conv"] = 1
        trt.built = SimpleNamespace(
            flags=config.flags, profiles=config.profiles, pools=config.pools, cache=config.cache
        )
        flags = config.flags if trt.__name__ == "tensorrt_rtx" else {"REQUIRE_USER_ALLOCATION"}
        return engine_text(
            most=config.profiles[0].shapes[1][2][0],
            captures="REQUIRE_USER_ALLOCATION" in flags,
        )

    def builder(logger):
        images = SimpleNamespace(name="images", shape=(-1, 3, 4, 4))
        network = SimpleNamespace(get_input=lambda number: images)
        return SimpleNamespace(
            create_network=lambda flags: network,
            create_builder_config=lambda: Config(trt),
            create_optimization_profile=Profile,
            build_serialized_network=build,
        )

    def inspector(engine):
        text = json.dumps({"Layers": trt.layers})
        return SimpleNamespace(get_engine_information=lambda form: text)

    class Logged:
        INTERNAL_ERROR, ERROR = 0, 1

        def __init__(self):
            pass

    class Monitor:
        def __init__(self):
            pass

    def parser(network, log):
        return SimpleNamespace(parse=lambda content: True, num_errors=0)

    trt.ILogger, trt.IProgressMonitor, trt.Builder, trt.OnnxParser = (
        Logged,
        Monitor,
        builder,
        parser,
    )
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    trt.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    trt.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    trt.LayerInformationFormat = SimpleNamespace(JSON="json")
    trt.BuilderFlag = SimpleNamespace(TF32="TF32")
    if trt.__name__ == "tensorrt_rtx":
        trt.BuilderFlag.REQUIRE_USER_ALLOCATION = "REQUIRE_USER_ALLOCATION"
        trt.ComputeCapability = SimpleNamespace(__members__={"SM87": "SM87", "SM89": "SM89"})
    monkeypatch.setattr(
        "stand_in_tensorrt.Engine.create_engine_inspector", inspector, raising=False
    )


class Profile:
    """An optimisation profile."""

    def set_shape(self, name, least, best, most):
        self.shapes = (name, (least, best, most))
