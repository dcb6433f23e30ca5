# `mirnet serve` in a small image: nothing of it runs as root, and its root file system may be read-only.
#
#     docker build -t mirnet .                                       # with HEIC and RAW: --build-arg EXTRAS=serve,heic,raw
#     docker run --read-only --cap-drop ALL -p 127.0.0.1:7411:7411 -e MIRNET_TOKEN=SECRET mirnet
#
# compose.yaml denies the container everything that it does not need.

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
ARG EXTRAS=serve
# The wheel is built in this stage with its tools; the final stage gets the installed wheel without pip.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /mirnet \
    && pip --python /mirnet/bin/python install --no-cache-dir --constraint constraints.txt "$(echo /wheels/mirnet-*.whl)[$EXTRAS]"

FROM python:3.12-slim
COPY --from=build /mirnet /mirnet
# No cache of compiled networks: the file system is read-only.
ENV PATH=/mirnet/bin:$PATH MIRNET_CACHE= PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
EXPOSE 7411
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as it; it.urlopen('http://127.0.0.1:7411/healthz', timeout=4)"]
ENTRYPOINT ["mirnet", "serve", "--host", "0.0.0.0"]
