# langraft in a container, with the versions that it was tested with (constraints.txt).
#   docker build --tag langraft .                          for CPUs
#   docker build --tag langraft --build-arg TORCH=cu130 .  for NVIDIA GPUs
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" langraft run quickstart
# One base image serves both: torch's builds bring the CUDA libraries, the host brings the driver.
FROM python:3.12.12-slim-bookworm

# A build of torch by the name that uv has for it: cpu, cu130, cu128, ...
ARG TORCH=cpu

# torch.compile needs a compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/langraft
COPY constraints.txt pyproject.toml ./
RUN python -m pip install --no-cache-dir --constraint constraints.txt uv \
    && uv pip install --system --no-cache --torch-backend "$TORCH" --constraint constraints.txt \
        --requirement pyproject.toml --extra data --extra eval --extra gguf --extra lora

# The libraries above are built again only when their versions change.
COPY LICENSE README.md ./
COPY src ./src
RUN uv pip install --system --no-cache --no-deps .

# Everybody may write here, as --user may name anybody: caches of the hub, compiled kernels, pictures.
RUN useradd --create-home --uid 1000 langraft \
    && mkdir --mode 1777 /work /cache
ENV HOME=/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER langraft
WORKDIR /work
ENTRYPOINT ["langraft"]
CMD ["--help"]
