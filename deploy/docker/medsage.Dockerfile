# syntax=docker/dockerfile:1.7
# One recipe for all roles; EXTRAS says which optional dependencies a role has.

FROM python:3.12.11-slim-bookworm AS build
ARG EXTRAS=vision,mongodb,redis,gemini,tracing
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
RUN python -m venv /opt/venv
WORKDIR /opt/medsage
COPY . .
# Editable, so that templates, tables and weights are read where they lie in the source.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install -c requirements.lock -e ".[${EXTRAS}]" \
    && /opt/venv/bin/python -m compileall -q fhir_server terminology models smart_app deploy

FROM python:3.12.11-slim-bookworm AS run
LABEL org.opencontainers.image.title="MedSAGE" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Fonts for PDFs; without them the letters of many languages are refused. No version: Debian serves
# the last one only.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 medsage \
    && useradd --uid 10001 --gid medsage --no-create-home --shell /usr/sbin/nologin medsage \
    && install -d -o medsage -g medsage /data /backups
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/medsage /opt/medsage
WORKDIR /opt/medsage
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "deploy.is_ready"]
ENTRYPOINT ["medsage"]
CMD ["serve", "--host", "0.0.0.0", "--port", "5000", "--data", "/data"]
