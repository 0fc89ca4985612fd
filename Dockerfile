# `device` and `train` were built with buildah on 2026-11-29, on a base made with debootstrap (Debian 12, Python 3.11.2)
# in the place of the first image: the registry could not be reached. `device` checked a bundle. `gpu` and `jetson` are
# linted (hadolint) and were never built.
#
#   docker build --target device -t edge-compressor:device .   # checks bundles on a CPU, no torch
#   docker build --target train  -t edge-compressor:train .    # the whole way on a CPU
#   docker build --target gpu    -t edge-compressor:gpu .      # checks bundles and builds engines
#   docker build --target jetson -t edge-compressor:jetson .   # the same on a Jetson with JetPack 6 (docs/jetson.md)
#   docker run --rm -v "$PWD:/work" edge-compressor:device check bundle
#   docker run --rm --gpus all -v "$PWD:/work" edge-compressor:gpu check bundle

FROM python:3.11.11-slim-bookworm AS device
WORKDIR /edge-compressor
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY compressor compressor
COPY export export
COPY runtime runtime
COPY recipes recipes
RUN python -m pip install --no-cache-dir --constraint constraints.txt '.[cpu]'
WORKDIR /work
ENTRYPOINT ["python", "-m", "runtime"]
CMD ["--help"]

FROM device AS train
WORKDIR /edge-compressor
RUN python -m pip install --no-cache-dir --constraint constraints.txt '.[train,cpu]'
WORKDIR /work
ENTRYPOINT ["compressor"]
CMD ["--help"]

# NVIDIA's image brings TensorRT for Python and CUDA; the environment sees them and adds the rest.
FROM nvcr.io/nvidia/tensorrt:25.11-py3 AS gpu
WORKDIR /edge-compressor
COPY --from=device /edge-compressor .
RUN python3 -m venv --system-site-packages /opt/edge-compressor \
    && /opt/edge-compressor/bin/python -m pip install --no-cache-dir --constraint constraints.txt \
        '.[gpu]' 'cuda-bindings>=12.9'
ENV PATH=/opt/edge-compressor/bin:$PATH
WORKDIR /work
ENTRYPOINT ["compressor"]
CMD ["--help"]

# On the board. The image for integrated GPUs whose TensorRT is that of JetPack 6: 10.3, with CUDA 12.6 and Python 3.10.
# Bindings of CUDA 13 would refuse its driver; constraints.txt is for Python 3.11, so versions are those of its own file.
FROM nvcr.io/nvidia/tensorrt:24.08-py3-igpu AS jetson
WORKDIR /edge-compressor
COPY pyproject.toml constraints-jetson.txt README.md LICENSE ./
COPY compressor compressor
COPY export export
COPY runtime runtime
COPY recipes recipes
RUN python3 -m venv --system-site-packages /opt/edge-compressor \
    && /opt/edge-compressor/bin/python -m pip install --no-cache-dir --constraint constraints-jetson.txt \
        '.[cpu]' 'cuda-bindings>=12.9,<13'
ENV PATH=/opt/edge-compressor/bin:$PATH
WORKDIR /work
ENTRYPOINT ["compressor"]
CMD ["--help"]
