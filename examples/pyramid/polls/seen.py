"""How often a poll was looked at: a number in Redis, where the app has one. No page fails without it."""

import os

import redis
from pyramid.request import Request


def connected() -> redis.Redis | None:
    """The app's Redis, which `redis: true` names in the environment. It connects with the first command."""
    url = os.environ.get("REDIS_URL")
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) if url else None


def count(request: Request, number: int) -> int | None:
    """How often poll *number* was looked at, now included; None where nobody counts."""
    client = request.registry.settings["polls.redis"]
    if client is None:
        return None
    # Keys begin with the app's own prefix: Redis refuses any other.
    key = f"{os.environ.get('REDIS_PREFIX', '')}seen:{number}"
    try:
        return int(client.incr(key))
    except redis.RedisError:
        return None
