# One image for everything that runs: the command says which part.
#   docker run afterspin spin_server serve | jackpot_server serve | jackpot_outbox serve | … migrate | … apply FILE

FROM python:3.13-slim-trixie AS base

FROM base AS build
WORKDIR /build
COPY requirements.lock requirements-dev.lock ./
# Wheels with the hashes of the lock, nothing compiled here; setuptools, in the lock too, only to build our own wheel.
RUN python -m venv --without-pip /opt/afterspin \
 && python -m pip --python /opt/afterspin/bin/python install --no-cache-dir --only-binary :all: \
        --no-deps --require-hashes -r requirements.lock \
 && awk '/^setuptools==/ { found = 1 } found { print } found && !/\\$/ { exit }' requirements-dev.lock > setuptools.lock \
 && python -m venv --without-pip /opt/builder \
 && python -m pip --python /opt/builder/bin/python install --no-cache-dir --only-binary :all: \
        --no-deps --require-hashes -r setuptools.lock
COPY . .
RUN python -m pip --python /opt/builder/bin/python wheel --no-cache-dir --no-index --no-deps --no-build-isolation \
        --wheel-dir dist . \
 && python -m pip --python /opt/afterspin/bin/python install --no-cache-dir --no-index --no-deps dist/*.whl

FROM base
RUN groupadd --gid 10001 afterspin \
 && useradd --uid 10001 --gid afterspin --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin afterspin
COPY --from=build /opt/afterspin /opt/afterspin
# PYTHONSAFEPATH: nothing is imported from the folder that a container happens to start in.
ENV PATH=/opt/afterspin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    LOG_FORMAT=json
USER 10001:10001
EXPOSE 50051 50052 9464 9465
# Whichever of the two servers this container is; for the sidecar and for commands, switch it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["sh", "-c", "exec python -m service_kit.healthcheck ${SPIN_LISTEN:-127.0.0.1:50051} ${JACKPOT_LISTEN:-127.0.0.1:50052}"]
ENTRYPOINT ["python", "-m"]
