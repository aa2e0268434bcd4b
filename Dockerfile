# almaflow on the CPU, with the versions that are tested together.
#
#   docker build -t almaflow .
#   docker run --rm -v almaflow-home:/data almaflow run model=resnet18 tier=2
#
# Everything that almaflow keeps is in the volume: jobs, the MLflow store, calibrations.
FROM python:3.13.5-slim-bookworm

# torch.compile generates C++ on the CPU; almaflow records the commit of a checkout by git.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/almaflow
COPY pyproject.toml README.md LICENSE ./
COPY constraints ./constraints
COPY conf ./conf
COPY src ./src
RUN pip install --no-cache-dir --constraint constraints/current.txt '.[all]'

RUN useradd --create-home --uid 1000 almaflow && mkdir /data && chown almaflow /data
USER almaflow
WORKDIR /home/almaflow
ENV ALMAFLOW_HOME=/data
VOLUME /data

ENTRYPOINT ["almaflow"]
CMD ["--help"]
