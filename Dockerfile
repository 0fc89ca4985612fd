# Written with care, never built: no Docker engine was at hand. The install commands are those of the
# Makefile, which CI runs.
#
#   docker build --target device -t edge-compressor:device .   # checks bundles, no torch
#   docker build --target train  -t edge-compressor:train .    # the whole way on a CPU

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
