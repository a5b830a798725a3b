#!/bin/sh
# Puts our dagster.yaml into the Dagster home, where all containers read it, and becomes the command.
# Kubernetes mounts the file there itself.
set -eu
mkdir -p "$DAGSTER_HOME"
if [ ! -e "$DAGSTER_HOME/dagster.yaml" ] || [ -w "$DAGSTER_HOME/dagster.yaml" ]; then
  cp dagster.yaml "$DAGSTER_HOME/dagster.yaml.$$"
  mv "$DAGSTER_HOME/dagster.yaml.$$" "$DAGSTER_HOME/dagster.yaml"
fi
exec "$@"
