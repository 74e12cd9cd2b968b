"""pypiserver with one user, who may upload."""

import os

import pypiserver


def may(user: str, password: str) -> bool:
    return (user, password) == ("ann", os.environ["PASSWORD"])


application = pypiserver.app(roots=["packages"], auther=may, authenticate=["update"])
