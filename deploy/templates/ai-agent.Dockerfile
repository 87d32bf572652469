# For the agent's repository, as its Dockerfile: Python, an ASGI application in app/main.py.
FROM python:3.12-slim-bookworm
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY app app
RUN useradd --uid 1000 --no-create-home appuser
USER appuser
ENV PYTHONUNBUFFERED=1
EXPOSE 8001
CMD ["python", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8001"]
