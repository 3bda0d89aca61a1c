# aegra with twobrain: docker build -f docs/deploy/aegra.Dockerfile -t twobrain-aegra .
FROM python:3.12-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir "aegra-api==0.11.0" -e ".[postgres]" \
    && useradd --create-home twobrain && mkdir /data && chown twobrain /data
USER twobrain
ENV AEGRA_CONFIG=/app/langgraph.json \
    AUTH_TYPE=custom \
    REDIS_BROKER_ENABLED=true \
    RUN_MIGRATIONS_ON_STARTUP=false \
    AEGRA_CHECKPOINT_DURABILITY=sync \
    LANGGRAPH_STRICT_MSGPACK=true \
    TWOBRAIN_DATA_DIR=/data \
    TWOBRAIN_CONFIG=/run/secrets/twobrain.toml
EXPOSE 2026
CMD ["uvicorn", "aegra_api.main:app", "--host", "0.0.0.0", "--port", "2026", "--timeout-graceful-shutdown", "30"]
