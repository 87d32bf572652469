# For the MCP server's repository, as its Dockerfile: Python, a package `server` that listens
# on PORT. Only the agent can connect to it: no port is published.
FROM python:3.12-slim-bookworm
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY server server
RUN useradd --uid 1000 --no-create-home appuser
USER appuser
ENV PYTHONUNBUFFERED=1 PORT=8002
EXPOSE 8002
CMD ["python", "-m", "server"]
