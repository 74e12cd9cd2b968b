"""A Celery app whose queue is in the app's part of Redis."""

import os

from celery import Celery

app = Celery("tasks", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
# All keys and channels begin with the app's prefix: Redis refuses any other.
prefixed = {"global_keyprefix": os.environ["REDIS_PREFIX"]}
app.conf.update(
    broker_transport_options=prefixed,
    result_backend_transport_options=prefixed,
    broker_connection_retry_on_startup=True,
    # Workers talk to each other by patterns of channels, which no rule of Redis limits to a prefix.
    worker_enable_remote_control=False,
)


@app.task
def shout(text: str) -> str:
    return text.upper()
