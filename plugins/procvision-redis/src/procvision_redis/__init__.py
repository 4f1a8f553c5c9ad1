"""Sessions in Redis: `--sessions redis://HOST:PORT/DB`."""

from procvision_redis.plugin import RedisSessions

__all__ = ["RedisSessions"]
