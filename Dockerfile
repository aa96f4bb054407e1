# The platform: web process, worker and commands. Which of them it is, the command says (docs/deploy.md).
# Built from what .dockerignore lets in: no secret is, or is needed, at build time.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/venv
COPY requirements-server.txt /tmp/requirements.txt
# Where packages come from is the builder's own pip configuration: `docker build --secret id=pip,src=pip.conf`.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-deps --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --gid 10001 paas \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin paas \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=paas.settings.prod \
    STOP_NOTICE_SECONDS=5 \
    VAR_DIR=/data
RUN python -m compileall -q /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "launch.probe", "http://127.0.0.1:8000/healthz"]
CMD ["python", "-m", "launch.web", "--host", "0.0.0.0", "--port", "8000"]
